"""Drift against scipy's likelihoods, and in long streams that keep the promise or do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gamekeeper.detectors.drift import (
    FALSE_EVERY,
    RESUMED,
    SUSPENDED,
    WINDOW,
    Judged,
    Life,
    Limits,
    drift,
    limits_of,
    lives,
    periods,
)

ONE_PERCENT = Limits(1000, 0.01)


def stream(alarmed: np.ndarray, kind: str = "other data") -> list[Life]:
    """Make lives that begin one after another, and alarm at once where they do."""
    return [
        Life(10 * at, alarmed=10 * at + 1 if each else None, kind=kind if each else "")
        for at, each in enumerate(alarmed.tolist())
    ]


@pytest.mark.parametrize("share", [0.002, 0.01, 0.1, 0.6, 0.99])
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 1.0])
def test_the_evidence_is_the_best_ratio_of_likelihoods(share: float, rate: float) -> None:
    """It is scipy's binomial likelihood of the bet over that of the promise, at the best start."""
    alarmed = np.random.default_rng(1).random(120) < rate
    found = drift(stream(alarmed), Limits(1000, share))
    bet = min(4 * share, (1 + share) / 2)
    ratios = [
        stats.binom.logpmf(rest.sum(), len(rest), bet)
        - stats.binom.logpmf(rest.sum(), len(rest), share)
        for rest in (alarmed[start:] for start in range(len(alarmed)))
    ]
    assert found.evidence == pytest.approx(max(ratios))
    best = alarmed[len(alarmed) - found.lives :]
    assert ratios[len(alarmed) - found.lives] == pytest.approx(max(ratios))
    assert sum(found.alarmed.values()) == best.sum()
    assert found.allowed == pytest.approx(share * len(best))
    assert found.since == 10 * (len(alarmed) - found.lives)


def test_what_keeps_the_promise_is_falsely_suspended_as_seldom_as_stated() -> None:
    """Of streams in which as many alarm as may, late ones among them, no more are suspended."""
    rng = np.random.default_rng(0)
    streams, length = 400, 5000
    suspended = 0
    up, down = math.log(4), math.log(0.96 / 0.99)  # the same for all starts: Page's recursion
    for _ in range(streams):
        sums = np.cumsum(np.where(rng.random(length) < 0.01, up, down))
        above = sums - np.minimum.accumulate(np.concatenate([[0.0], sums[:-1]]))
        suspended += bool(above.max() >= SUSPENDED)
    # At most streams * length / FALSE_EVERY = 20 are expected; 35 come once in a thousand times.
    assert stats.poisson.sf(34, streams * length / FALSE_EVERY) < 0.002
    assert suspended < 35


def test_many_at_once_suspend_within_a_dozen_lives_and_ten_percent_within_hundreds() -> None:
    """The more alarm, the sooner it is seen; one thief among 300 honest accounts is not."""
    rng = np.random.default_rng(2)
    honest = rng.random(300) < 0.005
    _, all_at_once = periods(stream(np.concatenate([honest, np.ones(40, bool)])), ONE_PERCENT)
    assert all_at_once.suspended
    assert all_at_once.begun < 10 * 312
    _, a_tenth = periods(stream(np.concatenate([honest, rng.random(400) < 0.1])), ONE_PERCENT)
    assert a_tenth.suspended
    assert a_tenth.begun > 10 * 312
    honest[150] = True
    [holding] = periods(stream(honest), ONE_PERCENT)
    assert (holding.begun, holding.ended, holding.suspended) == (0, None, False)


def test_it_resumes_where_the_lives_that_follow_keep_the_promise() -> None:
    """Half of the evidence has to go, by some hundred lives; or all of it leaves the window."""
    mild = np.concatenate([np.ones(10, bool), np.zeros(400, bool)])
    _, first, second = periods(stream(mild), ONE_PERCENT)
    assert (first.suspended, second.suspended) == (True, False)
    assert first.ended == second.begun
    assert (first.worst.lives, first.worst.alarmed) == (10, {"other data": 10})
    assert second.worst.evidence < RESUMED
    assert 2000 < second.begun < 3000
    strong = np.concatenate([np.ones(300, bool), np.zeros(WINDOW, bool)])
    _, first, second = periods(stream(strong), ONE_PERCENT)
    assert second.begun < 10 * (300 + WINDOW)


def test_periods_are_those_of_weighing_all_again_at_each_moment() -> None:
    """Late alarms count for the lives in which they come, from when they come."""
    rng = np.random.default_rng(3)
    known = [
        Life(
            at, alarmed=at + int(rng.integers(0, 60)) if rng.random() < 0.2 else None, kind="theft"
        )
        for at in range(150)
    ]
    suspended, found = False, []
    for moment in range(300):
        so_far = [
            life
            if life.alarmed is not None and life.alarmed <= moment
            else life._replace(alarmed=None)
            for life in known
            if life.begun <= moment
        ]
        now = drift(so_far, ONE_PERCENT).suspends(suspended=suspended)
        if now != suspended:
            suspended = now
            found.append((moment, now))
    assert found
    assert [(each.begun, each.suspended) for each in periods(known, ONE_PERCENT)[1:]] == found


def test_old_accounts_who_alarm_are_seen_among_new_ones_who_do_not() -> None:
    """A camera that is rolled out to 50 of 550 customers, the oldest, suspends."""
    known = [Life(at, alarmed=1000 + at, kind="other data") for at in range(50)]
    known += [Life(at) for at in range(50, 550)]
    _, suspended = periods(known, ONE_PERCENT)
    assert suspended.suspended
    assert suspended.worst.alarmed == {"other data": 50}
    assert suspended.worst.lives == 550


def test_lives_are_counted_by_queries() -> None:
    """An account is counted again after each promised life, until it alarms."""
    limits = Limits(100, 0.01, 0.05)
    clear = Judged(since=0, last=1000, queries=250)
    assert list(lives(clear, limits)) == [Life(800, 2), Life(400, 1), Life(0, 0)]
    assert list(lives(clear, Limits(100, 0.01))) == [Life(0, 0)]
    caught = Judged(since=0, last=1000, queries=250, found=120, found_at=480, kind="theft")
    assert list(lives(caught, limits)) == [Life(400, 1, 480, "theft"), Life(0, 0)]
    assert list(lives(caught, Limits(100, 0.01))) == [Life(0, 0)]  # it alarmed beyond the promise
    assert list(lives(caught, Limits(121, 0.01))) == [Life(0, 0, 480, "theft")]


def test_limits_are_the_worse_of_what_was_promised_and_what_was_measured() -> None:
    """Nothing is held against what was never promised, nor against what cannot be read."""
    content = {"alpha": 0.01, "life": 1000, "held_out_interval": [0.0, 0.005]}
    assert limits_of(content) == Limits(1000, 0.01)
    assert limits_of({"alpha": 0.01, "life": 1000, "held_out_interval": None}) == ONE_PERCENT
    beyond = limits_of({**content, "beyond_interval": [1.0, 20.0], "accounts": 400})
    assert beyond == Limits(1000, 0.01, pytest.approx(1 - math.exp(-0.02)))
    rare = limits_of({**content, "beyond_interval": [0.0, 0.5]})
    assert rare == Limits(1000, 0.01, 0.01)  # an account's later lives may do what first ones may
    assert limits_of({**content, "held_out_interval": [0.2, 1.0]}) == Limits(1000, 0.99)
    for nothing in ({}, {"alpha": None}, {"alpha": 0.01}, {"alpha": 0, "life": 9}, {"alpha": "x"}):
        assert limits_of(nothing) is None


def test_nothing_known_speaks_against_nothing() -> None:
    """Without lives there is no evidence."""
    assert not drift([], ONE_PERCENT).suspends(suspended=True)
    assert periods([], ONE_PERCENT) == []
