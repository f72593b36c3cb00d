"""The sweep against the obvious computation in numpy, and against what `evaluate` says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from gamekeeper.detectors import catalog
from gamekeeper.detectors.base import Floats
from gamekeeper.detectors.engine import (
    DetectorProfile,
    Policy,
    Profile,
    default_profile,
    override,
    resolve,
)
from gamekeeper.replay.cli.evaluate import evaluate as command
from gamekeeper.replay.tune.calibration import account_rule
from gamekeeper.replay.tune.evaluation import clopper_pearson, evaluate
from gamekeeper.replay.tune.evaluation.report import tabulate
from gamekeeper.replay.tune.evaluation.sweep import (
    ALL_ATTACKS,
    COLUMNS,
    HEADINGS,
    cells,
    choices,
    sweep,
)
from gamekeeper.schemas.errors import ProfileError
from support.toys import Echo, Echo2, write_values

Lives = dict[tuple[str, str], list[list[float]]]
KINDS: dict[str, Any] = {
    "carl": "papernot",
    "dora": "papernot",
    "emil": "tramer",
    "fred": "tramer",
    "gina": "tramer",
    "hugo": None,
}


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile of two toys that repeat the inputs, with thresholds that values tie with."""
    monkeypatch.setitem(catalog.DETECTORS, "echo", Echo)
    monkeypatch.setitem(catalog.DETECTORS, "echo-2", Echo2)
    return resolve(
        Profile(
            name="toys",
            detectors=(
                DetectorProfile(detector="echo", threshold=0.7),
                DetectorProfile(detector="echo-2", threshold=0.9),
            ),
        )
    )


def lives(benign: int = 9, ready: bool = True) -> Lives:
    """Draw accounts of 1 to 240 queries, with ties; attackers go up in the end."""
    random = np.random.default_rng(5)
    made: Lives = {}
    for account in [*(f"benign-{number}" for number in range(benign)), *KINDS]:
        values = random.random((int(random.integers(60, 240)), 2)) ** 4 * 0.8
        if KINDS.get(account):
            values[len(values) // 2 :] *= random.uniform(1, 2.5)
        made["t", account] = values.round(2).tolist()
    if ready:
        made["t", "benign-short"] = [[1.0, 1.0]]  # never ready, so never alarmed
        made["t", "carl"] = made["t", "carl"][:2]
    return made


def statistics(made: Lives) -> dict[str, dict[str, Floats]]:
    """Say what the two toys make of each account, NaN for the first two queries."""
    answer: dict[str, dict[str, Floats]] = {}
    for (_, account), rows in made.items():
        values = np.array(rows)
        values[:2] = math.nan
        answer[account] = {"echo": values[:, 0], "echo-2": values[:, 1]}
    return answer


def kind_of(account: str) -> str | None:
    """Say an account's kind."""
    return KINDS.get(account, "benign")


def obvious(
    made: Mapping[str, Mapping[str, Floats]],
    kind: str | None,
    thresholds: Sequence[tuple[str, float]],
) -> dict[str, Any]:
    """Compute a row of the sweep account by account, query by query."""
    attack = kind not in (None, "benign")
    accounts = [
        values
        for account, values in made.items()
        if kind_of(account) == kind
        or (kind == ALL_ATTACKS and kind_of(account) not in (None, "benign"))
    ]
    detections, chunks, alarmed_chunks, served, queries = [], 0, 0, 0, 0
    for values in accounts:
        alarms = np.any([values[name] > threshold for name, threshold in thresholds], axis=0)
        first = int(np.argmax(alarms)) + 1 if alarms.any() else math.inf
        detections.append(first)
        served += min(first, len(alarms))
        queries += len(alarms)
        for begin in range(0, len(alarms), 50):
            chunks += 1
            alarmed_chunks += bool(alarms[begin : begin + 50].any())
    alarmed = sum(map(math.isfinite, detections))
    middle, last = float(np.sort(detections)[[len(detections) // 2]][0]), max(detections)
    if len(detections) % 2 == 0:
        middle = sum(sorted(detections)[len(detections) // 2 - 1 :][:2]) / 2
    low, high = clopper_pearson(alarmed, len(accounts))
    return {
        "accounts": len(accounts),
        "queries": queries,
        "alarmed": alarmed,
        "share": alarmed / len(accounts),
        "low": low,
        "high": high,
        "first_alarms_per_query": alarmed / served,
        "chunks": chunks,
        "chunks_alarmed": alarmed_chunks,
        "chunk_fpr": alarmed_chunks / chunks if kind == "benign" else None,
        "detection_median": middle if attack and math.isfinite(middle) else None,
        "detection_worst": last if attack and math.isfinite(last) else None,
    }


def swept(folder: Path, made: Lives, profile: Profile) -> list[dict[str, Any]]:
    """Evaluate lives and sweep them."""
    trace = write_values(folder / "trace.parquet", made, KINDS)
    evaluate([trace], folder / "out", profile)
    rows: list[dict[str, Any]] = sweep(folder / "out", profile).to_pylist()
    return rows


def test_every_point_equals_the_obvious_computation(profile: Profile, tmp_path: Path) -> None:
    """At each threshold, of one detector or of both, all figures are those of a plain walk."""
    made = lives()
    values = statistics(made)
    rows = swept(tmp_path, made, profile)
    assert {row["detector"] for row in rows} == {"echo", "echo-2", "any"}
    kinds = {None, "benign", "papernot", "tramer", ALL_ATTACKS}
    points = {(row["detector"], row["point"]) for row in rows}
    assert len(rows) == len(points) * len(kinds)
    for row in rows:
        expected = obvious(values, row["kind"], row["thresholds"])
        assert {name: row[name] for name in expected} == pytest.approx(expected), row


def test_profile_s_own_point_is_what_evaluate_says(profile: Profile, tmp_path: Path) -> None:
    """At the profile's thresholds, all that both state is the same, for each and for `any`."""
    trace = write_values(tmp_path / "trace.parquet", lives(), KINDS)
    said = {
        (row.detector, row.kind): msgspec.structs.asdict(row)
        for row in tabulate(evaluate([trace], tmp_path / "out", profile))
    }
    compare_own(said, sweep(tmp_path / "out", profile).to_pylist())


def test_profile_s_own_point_on_the_sample(tmp_path: Path) -> None:
    """The same holds for a real detector on the trace that ships."""
    profile = override(default_profile(), ["prada.threshold=0.03"])
    results = tabulate(evaluate(["sample"], tmp_path, profile))
    said = {(row.detector, row.kind): msgspec.structs.asdict(row) for row in results}
    compare_own(said, sweep(tmp_path, profile).to_pylist())


def compare_own(
    said: dict[tuple[str, str | None], dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    """Compare the rows of the profile's own thresholds with those of an evaluation."""
    own = {
        (row["detector"], row["kind"]): row
        for row in rows
        if row["own"] and row["kind"] != ALL_ATTACKS
    }
    assert own.keys() == said.keys()
    for key, row in said.items():
        same = row.keys() & own[key].keys()
        assert same >= {"accounts", "alarmed", "chunk_fpr", "detection_median", "detection_worst"}
        assert {name: own[key][name] for name in same} == {name: row[name] for name in same}
        assert (own[key]["low"], own[key]["high"]) == row["interval"]


def test_roc_is_exact(profile: Profile, tmp_path: Path) -> None:
    """No threshold whatever gives numbers of alarmed accounts that the sweep does not have."""
    made = lives()
    rows = swept(tmp_path, made, profile)
    maxima = {
        account: {name: np.nanmax(values, initial=-math.inf) for name, values in each.items()}
        for account, each in statistics(made).items()
    }
    for name in ("echo", "echo-2"):
        found: dict[int, dict[str, int]] = {}
        for row in rows:
            if row["detector"] == name:
                found.setdefault(row["point"], {})[str(row["kind"])] = row["alarmed"]
        possible = [-math.inf, *np.linspace(-0.1, 2.1, 221).tolist()]
        for threshold in possible:
            counts = dict.fromkeys(map(str, (None, "benign", "papernot", "tramer")), 0)
            for account, each in maxima.items():
                counts[str(kind_of(account))] += bool(each[name] > threshold)
            counts[ALL_ATTACKS] = counts["papernot"] + counts["tramer"]
            assert counts in found.values()


def test_together_they_follow_the_account_level_rule(profile: Profile, tmp_path: Path) -> None:
    """A point's thresholds are what the rule chooses for its alpha, of which each has half."""
    made = lives()
    values = statistics(made)
    benign = [each for account, each in values.items() if kind_of(account) == "benign"]
    rows = [row for row in swept(tmp_path, made, profile) if row["detector"] == "any"]
    promised = [row for row in rows if row["alpha"] is not None and row["alpha"] < 1]
    assert len({row["point"] for row in promised}) == 5  # of 10 accounts: ranks 10 to 6
    for row in promised:
        alpha = Fraction(row["alpha"]).limit_denominator(10_000)
        for name, threshold in row["thresholds"]:
            maxima = [float(np.nanmax(each[name], initial=-math.inf)) for each in benign]
            assert threshold == account_rule.threshold(maxima, alpha / 2)


def test_file_is_the_table_with_the_columns_documented(profile: Profile, tmp_path: Path) -> None:
    """What is written is what is returned, in the documented columns; points count from 1."""
    rows = swept(tmp_path, lives(), profile)
    table = pq.read_table(tmp_path / "out" / "sweep.parquet")
    assert table.column_names == list(COLUMNS)
    assert table.to_pylist() == rows
    for detector in ("echo", "echo-2", "any"):
        points = {row["point"] for row in rows if row["detector"] == detector}
        assert points == set(range(1, len(points) + 1))


@pytest.mark.parametrize("kept", ["benign", "attacks", "unlabelled"])
def test_traffic_of_one_role(profile: Profile, tmp_path: Path, kept: str) -> None:
    """Without attacks, without benign accounts or without labels, the rest is still swept."""
    roles = {"benign": lambda kind: kind == "benign", "unlabelled": lambda kind: kind is None}
    keep = roles.get(kept, lambda kind: kind not in (None, "benign"))
    made = {key: rows for key, rows in lives().items() if keep(kind_of(key[1]))}
    rows = swept(tmp_path, made, profile)
    values = statistics(made)
    for row in rows:
        expected = obvious(values, row["kind"], row["thresholds"])
        assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert {row["detector"] for row in rows if row["own"]} == {"echo", "echo-2", "any"}


def test_choices_are_the_lowest_thresholds_of_a_rate(profile: Profile, tmp_path: Path) -> None:
    """A choice keeps its limit, and the next lower threshold of the sweep does not."""
    swept(tmp_path, lives(benign=30), profile)
    table = pq.read_table(tmp_path / "out" / "sweep.parquet")
    benign = {
        (row["detector"], row["point"]): row for row in table.to_pylist() if row["kind"] == "benign"
    }
    chosen = choices(table)
    assert {choice.row["detector"] for choice in chosen} == {"echo", "echo-2", "any"}
    for choice in chosen:
        if choice.limit is None:
            assert choice.row["own"]
            continue
        lower = benign[choice.row["detector"], choice.row["point"] + 1]
        assert choice.row["share"] <= choice.limit
        assert lower["share"] > choice.limit or lower["own"]


def test_scores_that_alarms_reset_are_refused(profile: Profile, tmp_path: Path) -> None:
    """Under the policy `reset` the scores hold for one threshold only, and the error says so."""
    reset = msgspec.structs.replace(profile, policy=Policy(mode="reset"))
    with pytest.raises(ProfileError, match=r"policy\.mode=latch"):
        sweep(tmp_path, reset)


def test_command_sweeps(profile: Profile, tmp_path: Path) -> None:
    """The command writes table and plots, and says which; without --sweep it removes them."""
    trace = write_values(tmp_path / "trace.parquet", lives(), KINDS)
    path, out = tmp_path / "profile.json", tmp_path / "out"
    path.write_bytes(msgspec.json.encode(profile))
    common = [str(trace), "--out", str(out), "--jobs", "1", "--profile", str(path)]
    result = CliRunner().invoke(command, [*common, "--sweep", "--format", "json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)["sweep"]
    assert said["rows"] == len(pq.read_table(said["file"]))
    assert {Path(each).name for each in said["plots"]} == {
        f"{name}.{suffix}"
        for name in ("roc", "false-alarms", "detection", "statistics")
        for suffix in ("png", "html")
    }
    assert all(Path(each).stat().st_size > 10_000 for each in said["plots"])
    assert len(said["choices"]) <= 15
    plain = CliRunner().invoke(command, common)
    assert plain.exit_code == 0, plain.output
    assert not (out / "sweep.parquet").exists()
    assert not list((out / "plots").iterdir())


def test_cells_say_what_a_choice_does(profile: Profile, tmp_path: Path) -> None:
    """A choice is told in one row for people, also where there are no attacks to catch."""
    made = {key: rows for key, rows in lives().items() if kind_of(key[1]) == "benign"}
    swept(tmp_path, made, profile)
    table = pq.read_table(tmp_path / "out" / "sweep.parquet")
    told = [cells(choice) for choice in choices(table)]
    assert {len(row) for row in told} == {len(HEADINGS)}
    assert told[0][:3] == ["echo", "as the profile has it", "0.7"]
    assert next(row[2] for row in told if row[0] == "any") == "0.7, 0.9"
    assert all(row[5:] == [None] * 3 for row in told)
