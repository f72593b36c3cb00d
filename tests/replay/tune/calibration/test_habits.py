"""Habits learned from accounts set apart: what is kept, and that the threshold is of others."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gamekeeper.detectors import catalog
from gamekeeper.detectors.base import Floats
from gamekeeper.detectors.engine import DetectorProfile, Profile, override, resolve
from gamekeeper.detectors.novelty import parsed
from gamekeeper.replay.cli.calibrate import calibrate as command
from gamekeeper.replay.cli.evaluate import evaluate as evaluate_command
from gamekeeper.replay.traces import open_trace
from gamekeeper.replay.tune.calibration import (
    Journal,
    Plan,
    calibrate,
    differences,
    options,
    verify,
)
from gamekeeper.replay.tune.calibration.habits import EVERY, POINTS, habits, learn
from gamekeeper.replay.tune.calibration.maxima import measure
from gamekeeper.replay.tune.evaluation import evaluate
from gamekeeper.replay.tune.evaluation.sweep import sweep
from gamekeeper.schemas.errors import ProfileError, TraceError
from gamekeeper.stream.profile_files import load_profile
from support.toys import Echo, Echo2, write_values

PLAN = Plan(alpha=0.1, life=40, held_out=0.25)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Profile:
    """Two detectors that repeat what is sent, and one that reads them."""
    for kind in (Echo, Echo2):
        monkeypatch.setitem(catalog.DETECTORS, kind.name, kind)
        monkeypatch.setattr(kind, "kind", "variants")
    names = ("echo", "echo-2", "novelty")
    return resolve(
        Profile(name="toys", detectors=tuple(DetectorProfile(detector=name) for name in names))
    )


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Honest accounts of two habits, each with either of two numbers large, never with both."""
    random = np.random.default_rng(0)
    values = {}
    for number in range(60):
        habit = np.array([[1, 10], [10, 1]][number % 2])
        rows = habit + random.normal(0, 0.1, (40, 2))
        values["p", f"p-{number:02}"] = rows.tolist()
    return write_values(tmp_path / "honest.parquet", values)


def said(trace: Path, account: str) -> Floats:
    """Give what the toys say of an account: its inputs, from the third query on."""
    with open_trace([trace]) as store:
        [life] = [each for each in store.lives if each.account == account]
        rows = np.concatenate([each.batch.inputs for each in store.stretches(life, 100)])
    rows[:2] = np.nan
    return rows


def test_the_threshold_is_a_distance_of_accounts_that_taught_nothing(
    toys: Profile, trace: Path
) -> None:
    """It is one of the largest distances of those that calibrate, each as numpy has it."""
    result = calibrate([trace], toys, PLAN, name="mine")
    novelty = result.profile.detectors[2]
    known = parsed(novelty.options["habits"])
    taught = {life.account for life in result.taught}
    calibrating = {each.life.account for each in result.calibration}
    held_out = {each.life.account for each in result.held_out}
    assert (len(taught), len(calibrating), len(held_out)) == (22, 23, 15)
    assert not taught & (calibrating | held_out)
    largest = []
    for account in calibrating:
        rows = said(trace, account)[2:]
        scaled = np.arcsinh((rows - known.median) / known.scale)
        apart = np.linalg.norm(scaled[:, None] - known.points, axis=2)
        largest.append(apart.min(axis=1).max())
    assert novelty.threshold == pytest.approx(sorted(largest)[result.ranks["novelty"] - 1])
    assert result.ranks == {"novelty": 22}  # two of 24 may alarm
    assert [each.threshold for each in result.profile.detectors[:2]] == [None, None]
    assert {row.detector for row in result.measured} == {"novelty"}


def test_habits_are_what_the_teaching_accounts_said(toys: Profile, trace: Path) -> None:
    """Points are some of their statistics; scale and median as written down here."""
    with open_trace([trace]) as store:
        lives = store.lives[:20]
        taught = learn(toys, store, lives, 40, networks=Path())
    known = parsed(taught.detectors[2].options["habits"])
    rows = [said(trace, life.account)[EVERY - 1 :: EVERY] for life in lives]
    everything = np.concatenate(rows)
    np.testing.assert_allclose(known.median, np.median(everything, axis=0), rtol=1e-6)
    wander = [each[len(each) // 2 :].std(axis=0) for each in rows]
    np.testing.assert_allclose(known.scale, np.median(wander, axis=0), rtol=1e-6)
    apart = np.abs(known.points[:, None] - known.scaled(everything)).max(axis=2)
    assert apart.min(axis=1).max() < 1e-3
    assert len(known.points) == len(everything)  # fewer than are kept


def test_what_comes_after_the_life_teaches_nothing(
    toys: Profile, trace: Path, tmp_path: Path
) -> None:
    """Accounts that go on otherwise after it teach what those teach that end with it."""
    with open_trace([trace]) as store:
        ended = learn(toys, store, store.lives[:20], 40, networks=Path())
        values = {
            (life.trace, life.account): np.concatenate(
                [each.batch.inputs for each in store.stretches(life, 100)]
            ).tolist()
            + [[500.0, 500.0]] * 30
            for life in store.lives[:20]
        }
    longer = write_values(tmp_path / "longer.parquet", values)
    with open_trace([longer]) as store:
        assert learn(toys, store, store.lives, 40, networks=Path()) == ended


def test_of_many_looks_the_farthest_apart_are_kept() -> None:
    """No look is farther from a point than the points are from each other (Gonzalez, 1985)."""
    looks = [np.random.default_rng(seed).normal(size=(40, 2)) for seed in range(30)]
    known = habits(["a", "b"], looks)
    assert len(known.points) == POINTS
    everything = known.scaled(np.concatenate(looks))
    covered = np.linalg.norm(everything[:, None] - known.points, axis=2).min(axis=1).max()
    between = np.linalg.norm(known.points[:, None] - known.points, axis=2)
    assert covered <= between[~np.eye(POINTS, dtype=bool)].min()


def test_who_is_like_nobody_alarms_and_no_single_threshold_would_say_so(
    toys: Profile, trace: Path, tmp_path: Path
) -> None:
    """Both numbers are usual, and together they are not: what novelty is for."""
    profile = calibrate([trace], toys, PLAN, name="mine").profile
    rows = [[10.0, 10.0]] * 40
    thief = write_values(tmp_path / "thief.parquet", {("t", "thief"): rows}, {"thief": "theft"})
    with open_trace([thief]) as store:
        [found] = measure(store, store.lives, profile, 40)
    threshold = profile.detectors[2].threshold
    assert threshold is not None
    assert found.maxima["novelty"] > 2 * threshold
    with open_trace([trace]) as store:
        honest = measure(store, store.lives, profile, 40)
    for name in ("echo", "echo-2"):
        assert found.maxima[name] < max(each.maxima[name] for each in honest)
    assert verify([trace], profile, exclude=()).measured[-1].accounts == 60


def test_habits_that_are_known_are_kept(toys: Profile, trace: Path) -> None:
    """Whoever calibrates with a profile that has them sets no account apart to teach."""
    first = calibrate([trace], toys, PLAN, name="mine").profile
    again = calibrate([trace], first, PLAN, name="again")
    assert again.taught == []
    assert len(again.calibration) == 45
    assert again.profile.detectors[2].options == first.detectors[2].options


def test_what_was_learned_is_not_learned_again(
    toys: Profile, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupted calibration goes on with its habits and with what it had scored."""
    out = tmp_path / "mine.json"
    first = calibrate([trace], toys, PLAN, name="mine", journal=Journal(out))
    monkeypatch.setattr(sys.modules[calibrate.__module__], "learn", None)
    journal = Journal(out)
    again = calibrate([trace], toys, PLAN, name="mine", journal=journal)
    assert journal.recalled == 38
    assert again.profile == first.profile
    assert again.taught == first.taught


def test_too_few_accounts_are_told_how_many_would_do(toys: Profile, trace: Path) -> None:
    """Of what is not held out, half teaches."""
    with pytest.raises(TraceError) as refused:
        calibrate([trace], toys, Plan(alpha=0.01, life=40, held_out=0.25), name="mine")
    assert "leaves 23 for calibration; alpha 0.01 takes 99, so 262 in all" in str(refused.value)
    assert "as novelty's habits take half of the others" in str(refused.value)
    assert "23 calibration accounts carry no alpha below 0.0417" in str(refused.value)
    calibrate([trace], toys, Plan(alpha=0.0417, life=40, held_out=0.25), name="mine")


def test_it_needs_others_to_read(toys: Profile, trace: Path) -> None:
    """One is not enough for a habit; thefts and loads are judged alone."""
    alone = resolve(
        Profile(
            name="alone",
            detectors=tuple(
                DetectorProfile(detector=name) for name in ("echo", "steps", "rate", "novelty")
            ),
        )
    )
    with pytest.raises(ProfileError, match=r"reads two to 8 detectors.*there are 1"):
        calibrate([trace], alone, PLAN, name="alone")


def test_what_never_says_anything_teaches_nothing(
    toys: Profile, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says which it is."""
    monkeypatch.setattr(Echo2, "update", lambda self, batch: np.full(len(batch), np.nan))
    with pytest.raises(ProfileError, match="cannot learn from echo-2"):
        calibrate([trace], toys, PLAN, name="mine")


def test_the_command_says_who_taught_and_who_is_read(
    toys: Profile, trace: Path, tmp_path: Path
) -> None:
    """And `evaluate` takes the profile, and says of the others that they are read."""
    out = tmp_path / "mine.json"
    chosen = [part for name in ("echo", "echo-2", "novelty") for part in ("--detector", name)]
    options = ["--alpha", "0.1", "--life", "40", "--held-out", "0.25", "--jobs", "1"]
    done = CliRunner().invoke(command, [str(trace), "--out", str(out), *chosen, *options])
    assert done.exit_code == 0, done.output
    assert "22 accounts taught novelty's habits and calibrate nothing more" in done.stderr
    assert "echo, echo-2 carry no threshold of their own, as novelty reads them" in done.stderr
    written = CliRunner().invoke(
        command, [str(trace), "--out", str(out), *chosen, *options, "--format", "json"]
    )
    assert len(json.loads(written.stdout)["taught"]) == 22
    assert load_profile(out).read == {"echo", "echo-2"}
    arguments = [str(trace), "--out", str(tmp_path / "o"), "--profile", str(out), "--jobs", "1"]
    told = CliRunner().invoke(evaluate_command, arguments)
    assert told.exit_code == 0, told.output
    assert "echo: no alarm of its own: another detector reads it" in told.stdout


def test_what_was_learned_is_shown_in_short_and_compared_in_full(
    toys: Profile, trace: Path, tmp_path: Path
) -> None:
    """Nobody reads thousands of numbers; other ones have another hash."""
    profile = calibrate([trace], toys, PLAN, name="mine").profile
    [option] = options(profile.detectors[2]).values()
    assert option.startswith(f"{len(profile.detectors[2].options['habits']):,} characters, SHA-256")
    other = calibrate([trace], toys, Plan(alpha=0.1, life=40, held_out=0.25, seed=1), name="mine")
    assert "novelty.habits" in {each.name for each in differences(profile, other.profile)}


def test_habits_are_learned_anew_where_they_are_unset(toys: Profile, trace: Path) -> None:
    """An empty option is none: some accounts teach again."""
    first = calibrate([trace], toys, PLAN, name="mine").profile
    unset = override(first, ["novelty.habits="])
    assert calibrate([trace], unset, PLAN, name="mine").profile == first


def test_what_was_learned_of_is_not_set_otherwise(toys: Profile, trace: Path) -> None:
    """Else habits would be of other statistics than the account's."""
    first = calibrate([trace], toys, PLAN, name="mine").profile
    with pytest.raises(ProfileError, match="novelty has learned what echo says as it is set"):
        override(first, ["echo.warm=5"])
    assert override(first, ["echo.warm=5", "novelty.habits="]).read == frozenset()


def test_a_sweep_tries_thresholds_of_those_that_can_alarm(
    toys: Profile, trace: Path, tmp_path: Path
) -> None:
    """What is only read never alarms, by itself or with others."""
    profile = calibrate([trace], toys, PLAN, name="mine").profile
    evaluate([trace], tmp_path / "out", profile)
    table = sweep(tmp_path / "out", profile)
    assert set(table["detector"].to_pylist()) == {"novelty"}
