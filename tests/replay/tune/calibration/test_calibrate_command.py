"""`gamekeeper calibrate`: what it writes, prints and warns of."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.engine import Profile
from gamekeeper.replay.cli.calibrate import calibrate as command
from gamekeeper.replay.cli.evaluate import evaluate as evaluate_command
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.stream.profile_files import load_profile
from support.toys import Echo, Echo2, random_values, write_values


def run(*arguments: str | Path) -> Result:
    """Run `gamekeeper calibrate` in this process, on one core."""
    return CliRunner().invoke(command, [*map(str, arguments), "--jobs", "1"])


def test_command_writes_a_profile_that_evaluate_takes(toys: Profile, tmp_path: Path) -> None:
    """The file is the canonical JSON of the printed hash, and `evaluate` states its promise."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 40}))
    out = tmp_path / "mine.json"
    common = [path, "--out", out, "--detector", "echo", "--alpha", "0.1", "--life", "20"]
    plain = run(*common)
    assert plain.exit_code == 0, plain.output
    profile = load_profile(out)
    assert profile.name == "mine"
    assert hashlib.sha256(out.read_bytes()).hexdigest()[:16] == profile.hash
    assert profile.hash in plain.stdout
    assert "at most 10 % of benign accounts ever alarm in their first 20 queries" in plain.stdout
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".tmp"] == []
    said = json.loads(run(*common, "--format", "json").stdout)
    assert said["profile"]["hash"] == profile.hash  # the same traces, the same profile
    assert said["measured"][0]["accounts"] == 20
    assert Counter(each["side"] for each in said["accounts"]) == {"calibration": 20, "held out": 20}
    arguments = [path, "--out", tmp_path / "o", "--profile", out, "--jobs", "1"]
    done = CliRunner().invoke(evaluate_command, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert "its promise: at most 10 % of benign accounts ever alarm in 20 queries" in done.stdout


def test_command_says_which_threshold_is_the_least_there_is(
    toys: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its detector takes one account of the promise; the other is allowed what is left."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 60}))
    common = [path, "--out", tmp_path / "x.json", "--detector", "echo", "--detector", "echo-2"]
    monkeypatch.setattr(Echo2, "least", 5.0)
    done = run(*common, "--alpha", "0.1", "--life", "20")
    assert done.exit_code == 0, done.output
    assert "maximum 29 of 30, from the least" in done.stdout
    assert "5  its least, above maximum 30 of 30" in done.stdout
    said = json.loads(run(*common, "--alpha", "0.1", "--life", "20", "--format", "json").stdout)
    assert said["ranks"] == {"echo": 29, "echo-2": 30}
    assert [round(31 * each["alpha"]) for each in said["measured"][:2]] == [2, 1]


def test_command_warns_and_drops_nothing_silently(toys: Profile, tmp_path: Path) -> None:
    """Short, repeated and suspicious accounts are named on stderr; nobody held out is said."""
    values = random_values({"p": 30}) | random_values({"q": 2}, queries=5)
    values["p", "thief"] = [[900.0, 0.0]] * 20
    values["r", "p-1"] = values["p", "p-1"]
    path = write_values(tmp_path / "a.parquet", values)
    common = [path, "--out", tmp_path / "x.json", "--detector", "echo", "--life", "20"]
    loud = run(*common, "--alpha", "0.05", "--held-out", "0")
    assert loud.exit_code == 0, loud.output
    assert "left out: 2 accounts do not reach 20 queries" in loud.stderr
    assert "q-0, q-1" in loud.stderr
    assert "each counts as an account of its own: p-1;" in loud.stderr
    assert "looks contaminated: account thief of p: its largest echo is 900" in loud.stderr
    assert "--exclude thief" in loud.stderr
    assert "heuristic" in loud.stderr
    assert "not measured" in loud.stderr
    quiet = run(*common, "--alpha", "0.1", "--exclude", "thief")
    assert "contaminated" not in quiet.stderr
    assert "unlike" not in quiet.stderr
    assert "not measured" not in quiet.output


def test_command_refuses_thresholds_and_unusable_outs(toys: Profile, tmp_path: Path) -> None:
    """Thresholds are what calibration chooses; a file that cannot be written is named."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 10}))
    common = [path, "--detector", "echo", "--life", "20", "--alpha", "0.2"]
    chosen = run(*common, "--out", tmp_path / "x.json", "--set", "echo.threshold=0.3")
    assert isinstance(chosen.exception, ProfileError)
    assert "calibration chooses the thresholds" in str(chosen.exception)
    lost = run(*common, "--out", tmp_path / "missing" / "x.json")
    assert isinstance(lost.exception, ProfileError)
    assert "cannot write the profile" in str(lost.exception)
    for share in ("0", "1", "1.5"):
        assert run(path, "--out", tmp_path / "x.json", "--alpha", share).exit_code == 2


def test_command_says_which_population_is_unlike_the_others(toys: Profile, tmp_path: Path) -> None:
    """By name and detector, in words and in JSON; nothing is refused or left out."""
    values = random_values({"p": 30})
    values |= {
        ("other", f"other-{number}"): [[value + 9.0, other] for value, other in own]
        for number, own in enumerate(random_values({"q": 12}).values())
    }
    path = write_values(tmp_path / "a.parquet", values)
    options = ["--alpha", "0.3", "--life", "20", "--detector", "echo", "--format", "json"]
    result = run(path, "--out", tmp_path / "x.json", *options)
    assert result.exit_code == 0, result.output
    assert "population other is unlike the others: the median of its echo is" in result.stderr
    assert "Kolmogorov-Smirnov" in result.stderr
    found = json.loads(result.stdout)
    assert {each["population"] for each in found["unlike"]} == {"p", "other"}
    assert found["profile"]["promise"]["populations"] == ["other", "p"]


def test_command_says_that_a_population_was_never_judged(
    toys: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minus infinity, its median then, is no word for whoever reads it."""
    ready = Echo.update

    def update(self: Echo, batch: Batch) -> Floats:
        found = ready(self, batch)
        return np.where(found > 9, np.nan, found)

    monkeypatch.setattr(Echo, "update", update)
    values = random_values({"p": 30})
    values |= {("other", f"other-{number}"): [[10.0, 0.0]] * 20 for number in range(12)}
    path = write_values(tmp_path / "a.parquet", values)
    options = ["--alpha", "0.3", "--life", "20", "--detector", "echo"]
    result = run(path, "--out", tmp_path / "x.json", *options)
    assert result.exit_code == 0, result.output
    assert "population other is unlike the others: the median of its echo is none" in result.stderr
    assert "theirs none (never ready)" in result.stderr  # what the others are held against
    assert "inf" not in result.stderr


def test_many_who_look_contaminated_are_not_all_named(toys: Profile, tmp_path: Path) -> None:
    """Ten are, and how many more; JSON has all of them."""
    values = random_values({"p": 60})
    for number in range(12):
        values["p", f"p-{number}"][5] = [900.0 + number, 0.5]
    path = write_values(tmp_path / "a.parquet", values)
    common = [path, "--out", tmp_path / "x.json", "--detector", "echo", "--alpha", "0.5"]
    told = run(*common, "--life", "20").stderr
    assert told.count("looks contaminated: account") == 10
    assert "2 more look contaminated, less so (--format json has all)" in told
    listed = json.loads(run(*common, "--life", "20", "--format", "json").stdout)["suspects"]
    assert len(listed) == 12
