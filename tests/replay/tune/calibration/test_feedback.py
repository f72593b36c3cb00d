"""What analysts said when they closed findings, for the accounts that calibrate."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from gamekeeper.detectors import catalog
from gamekeeper.detectors.engine import Profile, default_profile
from gamekeeper.replay.cli.calibrate import calibrate as command
from gamekeeper.replay.tables.verdicts import from_tables
from gamekeeper.replay.tune.calibration import (
    Calibration,
    Feedback,
    Plan,
    calibrate,
    promised,
    read_feedback,
)
from gamekeeper.replay.tune.evaluation import evaluate
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables import QUERIES, many_query_rows, verdict_rows, write_parquet
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Disposition, Verdict, verdict_id
from gamekeeper.stream.profile_files import load_profile
from support.digits import augmented, digits
from support.toys import Echo, random_values, write_values
from support.traces import START
from support.verdict_tables import make_verdict

LIFE = 200
PAIRS = LIFE // 4
"""Queries of a customer who sends every third image twice, as two frames of a camera."""

Queries = tuple[NDArray[np.float32], NDArray[np.int64]]


def closing(latest: Verdict, disposition: Disposition | None) -> Verdict:
    """Close the finding of a verdict as an analyst does."""
    names = latest.profile, latest.detector, latest.account, latest.model, latest.first_time
    return msgspec.structs.replace(
        latest,
        id=verdict_id(*names, latest.queries, "close"),
        activity="close",
        reason="analyst",
        last_time=latest.last_time + 1,
        evidence={"analyst": "kim", "note": "asked them"},
        disposition=disposition,
    )


def write(folder: Path, verdicts: Sequence[Verdict], name: str = "a") -> Path:
    """Write verdicts as the sink does."""
    write_parquet(verdict_rows(verdicts), folder / "verdicts" / f"{name}.parquet")
    return folder


# What is said of whom


def findings(account: str, *said: Disposition | str | None) -> Iterable[Verdict]:
    """Make an account's findings, each closed with a word, without one (None), or left `open`."""
    for number, word in enumerate(said, 1):
        opened = make_verdict(account, 10 * number, "create", opened=number)
        yield opened
        if word != "open":
            yield closing(opened, msgspec.convert(word, Disposition | None))


def test_the_first_word_that_fits_is_what_counts(tmp_path: Path) -> None:
    """A thief is one whatever else was closed; a finding that is open outweighs harmless ones."""
    said = {
        "thief": ("true positive",),
        "caught later": ("benign", "true positive"),
        "thief who goes on": ("true positive", "open"),
        "new": ("open",),
        "goes on": ("benign", "open"),
        "tester": ("benign",),
        "mistaken": ("false positive", None),
        "told elsewhere": ("duplicate",),
        "unsaid": (None,),
    }
    verdicts = [each for name, words in said.items() for each in findings(name, *words)]
    found = read_feedback(write(tmp_path, verdicts))
    assert [sorted(account for account, _ in keys) for keys in found] == [
        ["caught later", "thief", "thief who goes on"],
        ["goes on", "new"],
        ["mistaken", "tester"],
    ]
    assert {model for keys in found for _, model in keys} == {"digits"}


def test_a_folder_without_verdicts_is_an_error(tmp_path: Path) -> None:
    """Who asks for feedback must not calibrate without."""
    with pytest.raises(TraceError, match="holds no `verdicts` table yet"):
        read_feedback(tmp_path)
    assert read_feedback(write(tmp_path, [])) == Feedback()


# What it changes


def customer(seed: int) -> Queries:
    """Send digits of a hand of one's own."""
    return digits(LIFE, seed)


def camera(seed: int) -> Queries:
    """Send a third of the images twice, with the noise of a sensor."""
    rng = np.random.default_rng(seed)
    own, labels = digits(LIFE - PAIRS, seed)
    again = (own[:PAIRS] + rng.normal(0, 0.05, own[:PAIRS].shape)).clip(0, 1)
    order = rng.permutation(LIFE)
    inputs = np.concatenate([own, again.astype(np.float32)])[order]
    return inputs, np.concatenate([labels, labels[:PAIRS]])[order]


def write_accounts(path: Path, accounts: dict[str, Queries]) -> Path:
    """Write accounts of no stated kind, as they are recorded from the service."""
    batches = []
    for account, (inputs, labels) in accounts.items():
        event = QueryEvent(
            id=account,
            account=account,
            model="digits",
            time=START,
            inputs=Tensor.from_array(inputs),
            labels=labels.tolist(),
        )
        batches.append(many_query_rows([event], [0]))
    write_parquet(pa.Table.from_batches(batches, schema=QUERIES), path)
    return path


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """May: 19 customers, four cameras and a thief. June: twelve other cameras, another thief."""
    folder = tmp_path_factory.mktemp("traces")
    may = {f"customer-{seed}": customer(seed) for seed in range(19)}
    may |= {f"camera-{seed}": camera(seed) for seed in range(100, 104)}
    may["thief"] = augmented(LIFE, 200)
    june = {f"camera-{seed}": camera(seed) for seed in range(104, 116)}
    june["thief-2"] = augmented(LIFE, 201)
    return write_accounts(folder / "may.parquet", may), write_accounts(
        folder / "june.parquet", june
    )


def calibrated(may: Path, feedback: Feedback = Feedback(), **plan: tuple[str, ...]) -> Calibration:  # noqa: B008
    """Calibrate PRADA on all accounts of May that are allowed; the threshold is their largest."""
    chosen = Plan(alpha=0.05, life=LIFE, held_out=0, **plan)
    return calibrate([may], default_profile(), chosen, name="x", feedback=feedback)


def flagged(june: Path, profile: Profile, out: Path) -> set[str]:
    """Name the accounts of June that alarm."""
    evaluate([june], out, profile)
    return {each.account for each in from_tables(out)}


def threshold(result: Calibration) -> float:
    """Give PRADA's."""
    [only] = result.profile.detectors
    assert only.threshold is not None
    return only.threshold


def test_a_harmless_habit_alarms_no_more_and_a_known_thief_hides_no_other(
    traces: tuple[Path, Path], tmp_path: Path
) -> None:
    """May is judged by the profile of its customers; what an analyst says of it calibrates again.

    Of May, the customers' maxima are 0.018 to 0.060, the cameras' 0.088 to 0.123, the thief's
    0.193; of June, the cameras' are 0.094 to 0.134.
    """
    may, june = traces
    cameras = tuple(f"camera-{seed}" for seed in range(100, 104))
    first = calibrated(may, exclude=(*cameras, "thief"))
    assert threshold(first) == pytest.approx(0.060, abs=0.001)
    assert len(flagged(june, first.profile, tmp_path / "june-1")) == 13
    evaluate([may], tmp_path / "tables", first.profile)
    latest = {each.account: each for each in from_tables(tmp_path / "tables")}
    assert set(latest) == {*cameras, "thief"}

    # Without a word of what was found, the thief of May hides that of June.
    spoiled = calibrated(may)
    assert threshold(spoiled) == pytest.approx(0.193, abs=0.001)
    assert flagged(june, spoiled.profile, tmp_path / "june-2") == set()
    assert not [name for name in spoiled.profile.promise.content if "feedback" in name]

    # Nobody has said anything yet: neither calibrates, and cameras alarm as before.
    undecided = calibrated(may, read_feedback(tmp_path / "tables"))
    assert undecided.profile.detectors == first.profile.detectors
    assert {life.account for life in undecided.heeded.open} == {*cameras, "thief"}

    closed = [closing(latest[each], "benign") for each in cameras]
    closed.append(closing(latest["thief"], "true positive"))
    heard = read_feedback(write(tmp_path / "tables", closed, "closed"))
    again = calibrated(may, heard)
    assert threshold(again) == pytest.approx(0.123, abs=0.001)
    assert flagged(june, again.profile, tmp_path / "june-3") == {"camera-108", "thief-2"}
    assert tuple(life.account for life in again.heeded.honest) == cameras
    assert [life.account for life in again.heeded.thieves] == ["thief"]
    promise = again.profile.promise
    assert (promise.accounts, promise.feedback_honest, promise.feedback_left_out) == (23, 4, 1)
    assert (
        "analysts' feedback: 4 accounts count as honest since their findings were closed as "
        "harmless, 1 were left out"
    ) in promised(promise)


def test_whom_an_analyst_called_honest_is_no_suspect(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody has looked already."""
    monkeypatch.setitem(catalog.DETECTORS, Echo.name, Echo)
    values = random_values({"p": 30}) | {("p", "odd"): [[900.0, 0.0]] * 20}
    path = write_values(tmp_path / "a.parquet", values)
    tables = write(tmp_path, list(findings("odd", "benign")))
    assert "account odd" in run(path, tmp_path / "x.json").stderr
    heard = run(path, tmp_path / "x.json", "--feedback", tables).stderr
    assert "honest: odd" in heard
    assert "contaminated" not in heard


def test_accounts_of_other_models_are_others(traces: tuple[Path, Path]) -> None:
    """An account is one at one model; of others it is not even said that they are missing."""
    other = Feedback(
        thieves=frozenset({("thief", "faces")}), honest=frozenset({("gone", "digits")})
    )
    result = calibrated(traces[0], other)
    assert (result.heeded.thieves, result.heeded.absent) == ([], 1)
    assert result.profile.promise.accounts == 24


# The command


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A trace of forty accounts, two of which are too short, for a detector that repeats them."""
    monkeypatch.setitem(catalog.DETECTORS, Echo.name, Echo)
    values = random_values({"p": 40}) | random_values({"q": 2}, queries=5)
    return write_values(tmp_path / "a.parquet", values, {"p-1": "papernot", "p-2": "papernot"})


def run(trace: Path, out: Path, *arguments: str | Path) -> Result:
    """Calibrate it."""
    common = (trace, "--detector", "echo", "--alpha", "0.1", "--life", "20", "--out", out)
    return CliRunner().invoke(command, [*map(str, (*common, *arguments)), "--jobs", "1"])


def test_the_command_names_them(trace: Path, tmp_path: Path) -> None:
    """All of them, with what it is about each; the profile is written with their numbers."""
    said: dict[str, Disposition | str] = {
        "p-1": "true positive",
        "p-2": "true positive",
        "p-3": "open",
        "p-4": "benign",
        "p-5": "false positive",
        "q-1": "benign",
        "gone": "benign",
    }
    verdicts = [each for name, word in said.items() for each in findings(name, word)]
    tables, out = write(tmp_path / "tables", verdicts), tmp_path / "x.json"
    # Who is excluded anyway is left out for that.
    loud = run(trace, out, "--feedback", tables, "--exclude", "p-2")
    assert loud.exit_code == 0, loud.output
    for text in (
        "feedback: 2 accounts whose findings were closed as false positive or benign count as "
        "honest: p-4, p-5",
        "left out by feedback: 1 accounts with a finding that was closed as true positive: p-1",
        "left out by feedback: 1 accounts with a finding that is open, of which no analyst has "
        "said that it is harmless: p-3;",
        "feedback names 1 accounts that are not in the traces",
    ):
        assert text in loud.stderr
    promise = load_profile(out).promise
    assert (promise.feedback_honest, promise.feedback_left_out) == (2, 2)
    assert promise.accounts + promise.held_out_accounts == 37
    shown = run(trace, out, "--feedback", tables, "--exclude", "p-2", "--format", "json")
    assert json.loads(shown.stdout)["feedback"] == {
        "thieves": ["p-1"],
        "open": ["p-3"],
        "honest": ["p-4", "p-5"],
        "absent": 1,
    }


def test_the_command_says_nothing_where_nothing_was_said(trace: Path, tmp_path: Path) -> None:
    """And makes the profile that it makes without; a folder that is none is an error."""
    kinds = ("--exclude-kind", "papernot")
    plain = run(trace, tmp_path / "x.json", *kinds)
    heard = run(trace, tmp_path / "y.json", *kinds, "--feedback", write(tmp_path / "tables", []))
    assert "feedback" not in heard.output
    first, second = (load_profile(tmp_path / f"{name}.json") for name in "xy")
    assert first.promise == second.promise
    assert plain.exit_code == heard.exit_code == 0
    lost = run(trace, tmp_path / "z.json", *kinds, "--feedback", tmp_path / "missing")
    assert isinstance(lost.exception, TraceError)
    assert not (tmp_path / "z.json").exists()
