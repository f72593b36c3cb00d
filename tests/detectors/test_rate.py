"""The rate detector against the obvious computation, and what it does and does not see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import entropy

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.rate import Rate
from gamekeeper.schemas.errors import ProfileError

SECOND = 1_000_000


def batch_of(times: NDArray[np.int64], labels: NDArray[np.int64]) -> Batch:
    """Make a batch whose inputs do not matter."""
    return Batch(0, np.zeros((len(labels), 1)), labels, times=times)


def oracle(times: NDArray[np.int64], labels: NDArray[np.int64], window: int) -> list[float]:
    """Compute the statistic the obvious way, with scipy's entropy."""
    found = []
    for end in range(1, len(labels) + 1):
        if end < window:
            found.append(math.nan)
            continue
        part = slice(end - window, end)
        seconds = max((times[part].max() - times[part].min()) / SECOND, 1.0)
        _, counts = np.unique(labels[part], return_counts=True)
        found.append(window / seconds * math.exp(entropy(counts)))
    return found


@given(
    st.lists(st.tuples(st.integers(0, 10 * SECOND), st.integers(0, 4)), min_size=1, max_size=60),
    st.integers(10, 30),
)
def test_against_the_obvious_computation(queries: list[tuple[int, int]], window: int) -> None:
    """Any times, also such that go back, and any labels."""
    times, labels = np.array(queries, np.int64).T
    found = Rate(window=window).update(batch_of(times, labels))
    np.testing.assert_allclose(found, oracle(times, labels, window), rtol=1e-12)


@pytest.mark.parametrize(("gap", "classes"), [(SECOND // 10, 10), (SECOND, 100)])
def test_faster_or_more_even_queries_score_higher(gap: int, classes: int) -> None:
    """Ten times as fast, or spread over ten times as many classes, is ten times the statistic."""
    index = np.arange(300)
    calm = Rate().update(batch_of(index * SECOND, index % 10))[-1]
    other = Rate().update(batch_of(index * gap, index % classes))[-1]
    assert other == pytest.approx(10 * calm, rel=0.01)


def test_a_request_of_many_rows_counts_as_a_second() -> None:
    """Rows that share a time are so many queries in one second, not infinitely many."""
    labels = np.zeros(100, np.int64)
    assert Rate().update(batch_of(np.full(100, 7), labels))[-1] == 100.0


def test_an_honest_pace_is_forgotten_after_a_window() -> None:
    """A burst after a long calm life shows as soon as it fills the window."""
    calm, burst = np.arange(5000) * 60 * SECOND, np.arange(100) * SECOND // 100
    times = np.concatenate([calm, calm[-1] + SECOND + burst])
    found = Rate().update(batch_of(times, np.zeros(len(times), np.int64)))
    assert found[-1] > 50 * np.nanmax(found[:5000])


def test_evidence_says_pace_and_spread() -> None:
    """An analyst sees both factors of the statistic."""
    detector = Rate(window=10)
    index = np.arange(20)
    statistic = detector.update(batch_of(index * SECOND, index % 2))[-1]
    evidence = detector.evidence(19)
    assert evidence["queries"], evidence["classes"] == (10, 2)
    assert evidence["per_second"] * math.exp(evidence["label_entropy"]) == statistic


@pytest.mark.parametrize("window", [9, 201])
def test_a_window_beyond_the_bounds_is_refused(window: int) -> None:
    """The state stays in a header."""
    with pytest.raises(ProfileError, match=r"rate\.window"):
        Rate(window=window)
