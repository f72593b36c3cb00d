"""The evaluation's arithmetic against oracles written the obvious way."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.replay.tune.evaluation import rates

STATISTICS = st.lists(st.floats(0, 1) | st.just(math.nan), max_size=200).map(np.array)
DETECTIONS = st.lists(st.integers(1, 1000) | st.none(), min_size=1, max_size=9)


def at_least(hits: int, total: int, p: float) -> float:
    """Sum the binomial probabilities of `hits` or more."""
    return sum(math.comb(total, k) * p**k * (1 - p) ** (total - k) for k in range(hits, total + 1))


def test_docstrings() -> None:
    """Every example in the module's docstrings is true."""
    assert doctest.testmod(rates).failed == 0


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_interval_is_where_the_binomial_tails_are_a_fortieth(sample: tuple[int, int]) -> None:
    """At either end of the interval, what was seen or worse has a probability of 2.5 %."""
    hits, total = sample
    low, high = rates.clopper_pearson(hits, total)
    assert low <= hits / total <= high
    if hits:
        assert at_least(hits, total, low) == pytest.approx(0.025, rel=1e-6)
    if hits < total:
        assert 1 - at_least(hits + 1, total, high) == pytest.approx(0.025, rel=1e-6)


def test_interval_at_the_edges() -> None:
    """Nothing seen bounds from above only, everything seen from below only."""
    assert rates.clopper_pearson(0, 12) == (0.0, pytest.approx(1 - 0.025 ** (1 / 12)))
    assert rates.clopper_pearson(12, 12) == (pytest.approx(0.025 ** (1 / 12)), 1.0)


@pytest.mark.parametrize(("hits", "total"), [(0, 0), (-1, 3), (4, 3)])
def test_interval_of_impossible_counts(hits: int, total: int) -> None:
    """Counts that cannot be are refused."""
    with pytest.raises(ValueError, match="trials"):
        rates.clopper_pearson(hits, total)


@given(STATISTICS, st.floats(0, 1), st.integers(1, 60))
def test_chunks_equal_a_walk_over_slices(statistics: np.ndarray, limit: float, size: int) -> None:
    """Alarm queries and alarmed chunks are those that a plain loop over slices finds."""
    alarms = rates.alarm_queries(statistics, limit)
    assert alarms.tolist() == [i for i, x in enumerate(statistics.tolist()) if x > limit]
    slices = [statistics[i : i + size].tolist() for i in range(0, len(statistics), size)]
    expected = {i for i, chunk in enumerate(slices) if any(x > limit for x in chunk)}
    assert rates.chunks_of(len(statistics), size) == len(slices)
    assert rates.alarmed_chunks(alarms, size) == expected


@given(DETECTIONS)
def test_missed_attacks_count_as_for_ever(detections: list[int | None]) -> None:
    """Median and worst are those of a list in which a missed attack is infinite."""
    filled = sorted(math.inf if each is None else each for each in detections)
    middle = (filled[(len(filled) - 1) // 2] + filled[len(filled) // 2]) / 2
    assert rates.typical(detections) == (middle if math.isfinite(middle) else None)
    assert rates.worst(detections) == (filled[-1] if math.isfinite(filled[-1]) else None)
