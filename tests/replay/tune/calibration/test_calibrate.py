"""Calibration: the rule by hand, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gamekeeper.detectors.engine import Profile, override
from gamekeeper.replay.tune.calibration import Plan, calibrate
from gamekeeper.replay.tune.evaluation import evaluate
from gamekeeper.schemas.errors import ProfileError, TraceError
from support.toys import Echo, random_values, write_values


def test_calibration_equals_the_rule_by_hand(toys: Profile, tmp_path: Path) -> None:
    """Thresholds, promise and measurement are those of sorted maxima and counted alarms."""
    values = random_values({"p": 50, "q": 21})
    path = write_values(tmp_path / "a.parquet", values)
    result = calibrate([path], toys, Plan(alpha=0.1, life=20), name="mine")
    rows = {key: np.array(rows[2:]).max(axis=0) for key, rows in values.items()}
    inside = [(each.life.trace, each.life.account) for each in result.calibration]
    outside = [(each.life.trace, each.life.account) for each in result.held_out]
    assert set(inside) | set(outside) == set(values)
    assert (len(inside), len(outside)) == (36, 35)
    # floor(0.1 * 37) accounts may alarm: one by the second detector, two by the first
    assert list(result.ranks.values()) == [35, 36]
    thresholds = [each.threshold for each in result.profile.detectors]
    assert thresholds == [
        sorted(rows[key][place] for key in inside)[rank - 1] for place, rank in ((0, 35), (1, 36))
    ]
    alarms = [
        [row > limit for row, limit in zip(rows[key], thresholds, strict=True)] for key in outside
    ]
    counted = [row.alarms for row in result.measured if row.population is None]
    assert counted == [sum(x[0] for x in alarms), sum(x[1] for x in alarms), sum(map(any, alarms))]
    promise = result.profile.promise
    assert (promise.alpha, promise.accounts, promise.life) == (0.1, 36, 20)
    assert promise.populations == ("p", "q")
    assert (promise.held_out_accounts, promise.held_out_alarms) == (35, counted[2])
    assert promise.held_out_interval == tuple(result.measured[2].interval)
    assert (result.profile.name, result.profile.model) == ("mine", "digits")


def test_no_threshold_is_below_the_least_of_its_detector(
    echo: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little the accounts did; where they did more, theirs is the threshold."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 20}))
    [found] = calibrate([path], echo, Plan(alpha=0.2, life=20), name="x").profile.detectors
    assert found.threshold is not None
    for least in (found.threshold - 0.1, found.threshold + 0.1):
        monkeypatch.setattr(Echo, "least", least)
        [again] = calibrate([path], echo, Plan(alpha=0.2, life=20), name="x").profile.detectors
        assert again.threshold == max(found.threshold, least)


def test_evaluation_alarms_where_calibration_says(toys: Profile, tmp_path: Path) -> None:
    """The profile's alarms in an evaluation are exactly the held-out ones that were counted."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 60}))
    result = calibrate([path], toys, Plan(alpha=0.3, life=20), name="mine")
    lives = evaluate([path], tmp_path / "o", result.profile)
    caught = {each.life for each in lives if each.tallies[-1].detection is not None}
    assert len(caught & {each.life for each in result.held_out}) == result.measured[2].alarms > 0
    # Of the calibration's own accounts, those above the rank are the ones that alarm.
    for place in (0, 1):
        above = [each for each in lives if each.tallies[place].detection is not None]
        mine = {each.life for each in above} & {each.life for each in result.calibration}
        [*ranks] = result.ranks.values()
        assert len(mine) == len(result.calibration) - ranks[place]


def test_never_ready_accounts_are_silent_ones(echo: Profile, tmp_path: Path) -> None:
    """They count as the smallest maxima; where they would be the threshold, that is an error."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 9}, queries=10))
    never = override(echo, ["echo.warm=10"])
    with pytest.raises(ProfileError, match="never ready in 10 queries for 9 of 9"):
        calibrate([path], never, Plan(alpha=0.1, life=10, held_out=0), name="x")


def test_nothing_held_out_measures_nothing(echo: Profile, tmp_path: Path) -> None:
    """Then all accounts carry the promise, which says that it was not measured."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 9}))
    result = calibrate([path], echo, Plan(alpha=0.1, life=20, held_out=0), name="x")
    assert result.measured == []
    assert result.profile.promise.held_out_interval is None
    assert result.profile.promise.accounts == 9


# Refusals


def refused(path: Path, profile: Profile, plan: Plan) -> str:
    """Say why the calibration is refused."""
    with pytest.raises(TraceError) as caught:
        calibrate([path], profile, plan, name="x")
    return str(caught.value)


def test_too_small_an_alpha_is_refused_with_the_numbers(toys: Profile, tmp_path: Path) -> None:
    """The accounts that would do and the smallest alpha of those there are; that one works."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 20}))
    message = refused(path, toys, Plan(alpha=0.01, life=20))
    assert "leaves 10 for calibration; alpha 0.01 over 2 detectors takes 199, so 397" in message
    assert "10 calibration accounts carry no alpha below 0.1819" in message
    calibrate([path], toys, Plan(alpha=0.1819, life=20), name="x")
    assert "0.1819" in refused(path, toys, Plan(alpha=0.1818, life=20))


def test_too_long_a_life_is_refused_with_one_that_works(echo: Profile, tmp_path: Path) -> None:
    """The longest life that enough accounts reach is named; those too short are told."""
    values = random_values({"p": 6}, queries=20) | random_values({"q": 6}, queries=14)
    path = write_values(tmp_path / "a.parquet", values)
    message = refused(path, echo, Plan(alpha=0.2, life=10_000))
    assert "0 of 12 accounts reach 10000 queries" in message
    assert "takes 4, so 7 in all" in message
    assert "The longest life that 7 accounts reach is 14: use --life 14" in message
    assert calibrate([path], echo, Plan(alpha=0.2, life=14), name="x").short == []
    short = calibrate([path], echo, Plan(alpha=0.3, life=15), name="x").short
    assert {each.trace for each in short} == {"q"}
    assert len(short) == 6
    # Where no life would do, the one that the longer half reaches is named with its alpha.
    message = refused(path, echo, Plan(alpha=0.01, life=10_000))
    assert (
        "with --life 20, which 6 reach, 3 calibration accounts carry no alpha below 0.25" in message
    )


def test_attacks_are_refused_by_name_unless_excluded(echo: Profile, tmp_path: Path) -> None:
    """An attack's account in the trace is an error; excluding its kind or itself leaves it out."""
    values = random_values({"p": 10})
    kinds = {"p-3": "papernot", "p-4": "tramer"}
    path = write_values(tmp_path / "a.parquet", values, kinds)
    message = refused(path, echo, Plan(alpha=0.2, life=20))
    assert "p-3 (papernot), p-4 (tramer)" in message
    assert "--exclude-kind papernot --exclude-kind tramer" in message
    both = Plan(alpha=0.2, life=20, exclude=("p-3",), exclude_kinds=("tramer",))
    result = calibrate([path], echo, both, name="x")
    assert len(result.calibration) + len(result.held_out) == 8
    assert "--exclude p-99" in refused(path, echo, Plan(exclude=("p-99",)))
    assert "--exclude-kind pate" in refused(path, echo, Plan(exclude_kinds=("pate",)))
    everyone = tuple(account for _, account in values)
    assert "nothing is left" in refused(path, echo, Plan(exclude=everyone))


def test_traces_of_several_models_need_a_choice(echo: Profile, tmp_path: Path) -> None:
    """A profile is one model's: its own, the chosen one, or the traces' only one."""
    paths = [
        write_values(tmp_path / f"{model}.parquet", random_values({"p": 10}), model=model)
        for model in ("digits", "faces")
    ]
    with pytest.raises(ProfileError, match="--model: digits, faces"):
        calibrate(paths, echo, Plan(alpha=0.2, life=20), name="x")
    chosen = Plan(alpha=0.2, life=20, model="faces")
    profile = calibrate(paths, echo, chosen, name="x").profile
    assert profile.model == "faces"
    assert calibrate(paths, profile, Plan(alpha=0.2, life=20), name="x").profile == (
        calibrate(paths, echo, chosen, name="x").profile
    )
    with pytest.raises(ProfileError, match="not of words"):
        calibrate(paths, echo, Plan(model="words"), name="x")
