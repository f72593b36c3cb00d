"""A calibration that was interrupted goes on where it was, and ends as if it never had been."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from gamekeeper.detectors.engine import DetectorProfile, Profile, default_profile
from gamekeeper.replay.cli.calibrate import calibrate as command
from gamekeeper.replay.traces import Life
from gamekeeper.replay.tune.calibration import Journal, maxima
from gamekeeper.replay.tune.calibration.maxima import Later, Maxima
from gamekeeper.replay.tune.evaluation import Shard

OPTIONS = [
    *("sample", "--alpha", "0.4", "--life", "150", "--jobs", "1"),
    *("--detector", "prada", "--detector", "spacing"),
    *("--exclude-kind", "jb-self", "--exclude-kind", "jb-topk", "--exclude-kind", "papernot"),
    *("--exclude-kind", "t-rnd", "--exclude-kind", "tramer"),
]
KILLED = """
import os, signal, sys
from gamekeeper.replay.tune.calibration import maxima
from gamekeeper.stream.cli.root import main

real, left = maxima._measure_shard, [5]

def measured(*arguments):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments)

maxima._measure_shard = measured
main(["calibrate", *sys.argv[1:]])
"""


def calibrated(out: Path, *more: str) -> tuple[int, str]:
    """Calibrate the sample with PRADA and with spacing, which is fitted; give code and stderr."""
    out.parent.mkdir(exist_ok=True)
    result = CliRunner().invoke(command, [*OPTIONS, "--out", str(out), *more])
    return result.exit_code, result.stderr


def watch(monkeypatch: pytest.MonkeyPatch, most: int = 1000) -> list[int]:
    """Count the shards that are scored; interrupt when they are `most`."""
    scored: list[int] = []
    real: Callable[..., list[Maxima]] = maxima._measure_shard

    def measured(folder: Path, *arguments: object) -> list[Maxima]:
        if len(scored) == most:
            raise KeyboardInterrupt
        part = arguments[-1]
        assert isinstance(part, Shard)
        scored.append(part.number)
        return real(folder, *arguments)

    monkeypatch.setattr(maxima, "_measure_shard", measured)
    return scored


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run makes that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "digits.json"
    assert calibrated(out)[0] == 0
    return out.read_bytes()


@pytest.mark.parametrize("done", [0, 10])
def test_after_ctrl_c_the_same_command_goes_on(
    done: int, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No account is scored twice, the profile is the same, and nothing is left beside it."""
    out = tmp_path / "digits.json"
    with monkeypatch.context() as patch:
        first = watch(patch, done)
        code, said = calibrated(out)
    assert (code, len(first)) == (130, done)
    assert "give the same command again to go on" in said
    assert not out.exists()
    with monkeypatch.context() as patch:
        second = watch(patch)
        code, said = calibrated(out)
    assert (code, len(second)) == (0, 13 - done)
    assert ("went on" in said) == bool(done)
    assert f"{done} accounts" in said or not done
    assert out.read_bytes() == whole
    assert [each.name for each in tmp_path.iterdir()] == ["digits.json"]


def test_a_killed_one_goes_on_as_well(
    whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL leaves no time to write anything."""
    out = tmp_path / "digits.json"
    words = [sys.executable, "-c", KILLED, *OPTIONS, "--out", str(out)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == -signal.SIGKILL
    scored = watch(monkeypatch)
    assert calibrated(out)[0] == 0
    assert len(scored) == 13 - 4
    assert out.read_bytes() == whole


def test_what_was_scored_for_something_else_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other options, a shorter life or another trace begin anew; what cannot be read, too."""
    out = tmp_path / "digits.json"
    with monkeypatch.context() as patch:
        watch(patch, 9)
        assert calibrated(out)[0] == 130
    [folder] = (tmp_path / ".digits.json.scored").iterdir()
    kept = sorted(each for each in folder.iterdir() if each.name != "fitted")
    assert len(kept) == 9
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    with monkeypatch.context() as patch:
        scored = watch(patch, 2)
        assert calibrated(out)[0] == 130
        assert len(scored) == 2
    for more in (["--life", "140"], ["--seed", "1"]):
        with monkeypatch.context() as patch:
            scored = watch(patch, 1)
            calibrated(out, *more)
            assert len(list((tmp_path / ".digits.json.scored").glob("*/*"))) == 2
    scored = watch(monkeypatch)
    assert calibrated(out)[0] == 0
    assert len(scored) == 13


def test_a_secret_that_was_drawn_is_drawn_once(tmp_path: Path) -> None:
    """Scores depend on it, so it is kept with them; one that was given is as it is given."""

    def profile(secret: int) -> Profile:
        options = {"delta": 1.0, "secret": secret}
        return Profile(
            name="x", detectors=(DetectorProfile(detector="similarity", options=options),)
        )

    def fitted(secret: int, drawn: tuple[str, ...]) -> Profile | None:
        journal = Journal(tmp_path / "out.json", drawn)
        journal.open(["sample"], profile(secret))
        found = journal.fitted()
        journal.keep_fitted(profile(secret))
        return found

    assert fitted(1, ("similarity",)) is None
    assert fitted(2, ("similarity",)) == profile(1)
    assert fitted(3, ()) is None
    assert fitted(4, ()) is None


def test_it_holds_maxima_exactly(tmp_path: Path) -> None:
    """Minus infinity, of who is never ready, and what came later, among them; by what was asked."""
    life = Life("t", "a", "m", None, 0, 9)
    found = [Maxima(life, {"prada": -math.inf}, Later(3, {"prada": [(1, 0.1), (2, 0.3)]}))]
    journal = Journal(tmp_path / "out.json")
    journal.open(["sample"], default_profile())
    journal.keep([life], (6, 3), found)
    assert journal.scored([life], (6, 3)) == found
    assert journal.scored([life], (6, 0)) is None
