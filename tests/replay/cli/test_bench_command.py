"""`gamekeeper bench`: from images to a table of what is caught, as a person would run it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from gamekeeper.replay.cli.bench import QUICK_ROWS, bench
from gamekeeper.replay.theft.bench.benches import BENCHES
from gamekeeper.replay.theft.bench.parts import rows_of
from gamekeeper.replay.tune.datasets import load_dataset
from gamekeeper.schemas.errors import SettingsError
from support.once import once

ASKED = ("--quick", "--attack", "papernot", "--evasion", "plain", "--evasion", "duplicates")


def _bench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(bench, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a quick bench on the sample's digits."""

    def make(out: Path) -> None:
        done = _bench("combined", "sample", *ASKED, "--budget", "150", "--out", out, "--wide")
        assert done.exit_code == 0, done.output
        assert "| papernot | duplicates |" in done.output

    return once(tmp_path_factory, "bench", make)


def test_every_cell_has_a_row_and_a_plot(folder: Path) -> None:
    """Markdown, Parquet and plots tell of the same two cells."""
    rows = pq.read_table(folder / "combined.parquet").to_pylist()
    assert {(each["attack"], each["evasion"]) for each in rows} == {
        ("papernot", "plain"),
        ("papernot", "duplicates"),
    }
    assert {each["asked"] for each in rows} == {150}
    assert (folder / "combined.md").read_text().count("\n| papernot |") == 2
    for name in ("combined-matrix", "combined-false-alarms", "combined-likelihood"):
        assert (folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (folder / "plots" / f"{name}.html").stat().st_size > 1000


def test_a_thief_is_caught_and_leaks_less_than_he_would_have(folder: Path) -> None:
    """What papernot has when it is caught is measured beside what it would have had."""
    rows = pq.read_table(folder / "combined.parquet").to_pylist()
    plain = next(each for each in rows if each["rule"] == "combined" and each["evasion"] == "plain")
    assert 0 < plain["queries_to_detection"] <= plain["sent"] == 150
    assert plain["accounts_used"] >= 1
    assert 0 <= plain["leak"] <= 1


def test_calibration_accounts_draw_from_few_groups_and_test_accounts_from_all(folder: Path) -> None:
    """The sample's images are in groups, by account: a bench calibrates on fewer for each."""
    data = load_dataset(["sample"], limit=QUICK_ROWS, seed=0)
    assert data.groups is not None
    for side, drawn in (("calibration", 1), ("test", 4)):
        groups = data.groups[rows_of(data, np.random.default_rng(0))[side]]
        with np.load(folder / f"{side}.npz") as arrays:
            accounts = arrays["accounts"]
        assert {len(np.unique(groups[each])) for each in accounts} == {drawn}


def test_what_is_done_is_not_done_again(folder: Path) -> None:
    """A second command uses victim, networks, accounts and cells, and prints JSON on request."""
    before = {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/*.json")}
    done = _bench(
        "extraction", "sample", *ASKED[:3], "--budget", "150", "--out", folder, "--format", "json"
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [each["attack"] for each in told["cells"]] == ["papernot"]
    assert told["cells"][0]["stolen"]["images"] == 150
    assert "| papernot | 150 |" in (folder / "extraction.md").read_text()
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("cells/*/*.json")}


def test_what_is_done_so_far_is_reported(folder: Path, tmp_path: Path) -> None:
    """Of all cells asked for, those that are there; where there is none, it says so."""
    whole = ("--quick", "--so-far", "--out", folder)
    done = _bench("combined", "sample", *whole, "--budget", "150", "--format", "json")
    assert done.exit_code == 0, done.output
    assert {each["evasion"] for each in json.loads(done.stdout)["cells"]} == {"plain", "duplicates"}
    done = _bench("combined", "sample", "--quick", "--so-far", "--out", tmp_path / "out")
    assert isinstance(done.exception, SettingsError)
    assert not (tmp_path / "out").exists()
    done = _bench("combined", "sample", *whole, "--budget", "151")
    assert isinstance(done.exception, SettingsError)
    assert "no cells of --budget 151" in str(done.exception)


def test_honest_habits_are_measured_by_the_same_rules(folder: Path) -> None:
    """Each account has a row for each rule; crops are called theft, and repeats are not."""
    asked = ("--habit", "crops", "--habit", "ab-test", "--runs", "3", "--budget", "150", "--quick")
    done = _bench("honest", "sample", *asked, "--out", folder, "--format", "json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [each["habit"] for each in told["accounts"]] == ["crops", "ab-test"] * 3
    rows = pq.read_table(folder / "honest.parquet").to_pylist()
    assert len(rows) == 6 * len(told["limits"])
    found = [each for each in rows if each["rule"] == "combined"]
    assert all(bool(each["queries_to_alarm"]) == (each["habit"] == "crops") for each in found)
    report = (folder / "honest.md").read_text()
    assert "| crops | variants | 3/3 |" in report
    assert "| ab-test | repeats | 0/3 |" in report
    assert report.index("| crops |") < report.index("| ab-test |")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("habits/*/*.json")}
    again = _bench("honest", "sample", *asked, "--so-far", "--out", folder)
    assert again.exit_code == 0, again.output
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("habits/*/*.json")}


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("honest", ("--attack", "papernot"), "bench honest has no thief"),
        ("combined", ("--habit", "own"), "--habit is of bench honest"),
        ("honest", ("--so-far",), "no cells of --budget 150"),
    ],
)
def test_options_of_another_bench_are_refused(
    name: str, option: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """Before anything is made."""
    done = _bench(name, "sample", "--quick", *option, "--out", tmp_path / "out")
    assert isinstance(done.exception, SettingsError)
    assert message in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_bench_is_refused(folder: Path) -> None:
    """Other data or another seed would mix two benches' cells."""
    done = _bench("combined", "sample", *ASKED, "--seed", "1", "--out", folder)
    assert isinstance(done.exception, SettingsError)
    assert "another --out" in str(done.exception)


def test_unknown_names_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    """A misspelt attack costs no training."""
    done = _bench("combined", "sample", "--attack", "papernut", "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "papernot" in done.output
    assert not (tmp_path / "out").exists()


def test_the_help_names_every_bench() -> None:
    """What can be asked for is in the help, and an example ends it."""
    text = _bench("--help").output
    assert all(f"  {name} " in text for name in BENCHES)
    assert text.rstrip().splitlines()[-2].strip().startswith("Example: gamekeeper bench")
