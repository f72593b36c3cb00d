"""The share of out-of-distribution queries is Wilson's bound over a window, for any scores."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.out_of_distribution import OutOfDistribution, lower_bound
from gamekeeper.schemas.errors import ProfileError, StateError

Values = NDArray[np.float32]
few = settings(max_examples=40, deadline=None)
scores = st.lists(
    st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0, -1.5]), min_size=1, max_size=160
).map(lambda values: np.array(values, np.float32))


def batch(first: int, values: Values | None, n: int = 0) -> Batch:
    """Make queries that matter by their scores only."""
    n = n if values is None else len(values)
    features = {} if values is None else {"ood": values[:, None]}
    return Batch(first, np.zeros((n, 1)), np.zeros(n, np.int64), features=features)


def drawn(share: float, n: int, seed: int = 0) -> Values:
    """Draw scores of which about this share is above 0."""
    return (np.random.default_rng(seed).random(n) < share).astype(np.float32)


def obvious(values: Values, cut: float, window: int, warm_up: int) -> list[float]:
    """Take SciPy's Wilson interval of the latest scores, anew for each query."""
    statistics = []
    for n in range(1, len(values) + 1):
        latest = values[max(0, n - window) : n]
        above = int((latest.astype(np.float64) > cut).sum())
        interval = binomtest(above, len(latest)).proportion_ci(1 - 2 * norm.sf(3), "wilson")
        statistics.append(interval.low if n >= warm_up else math.nan)
    return statistics


@few
@given(
    values=scores,
    cut=st.sampled_from([-1e5, -1.5, 0.0, 0.3, 1e5]),
    window=st.integers(50, 170),
    warm_up=st.integers(1, 60),
    size=st.integers(1, 160),
)
def test_statistics_are_the_obvious_ones(
    values: Values, cut: float, window: int, warm_up: int, size: int
) -> None:
    """In any batches, the bound is that of a window counted anew for each query."""
    detector = OutOfDistribution(cut=cut, window=window, warm_up=warm_up)
    found: list[float] = []
    for at in range(0, len(values), size):
        found += detector.update(batch(at, values[at : at + size])).tolist()
    expected = obvious(values, cut, window, warm_up)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@few
@given(values=scores, cut_at=st.integers(0, 160), window=st.integers(50, 120))
def test_a_restored_detector_goes_on_with_the_same_bits(
    values: Values, cut_at: int, window: int
) -> None:
    """Saved at any query, it gives the same statistics and the same evidence."""
    options = {"cut": 0.3, "window": window, "warm_up": 1}
    whole, saved, restored = (build("ood", options) for _ in range(3))
    expected = whole.update(batch(0, values))
    saved.update(batch(0, values[:cut_at]))
    restored.load(saved.header(), [])
    rest = restored.update(batch(cut_at, values[cut_at:]))
    assert np.array_equal(rest, expected[cut_at:])
    if len(rest):
        assert restored.evidence(-1) == whole.evidence(-1)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 3.4e38, -0.0])
def test_any_score_is_taken(value: float) -> None:
    """Infinite scores and NaN give a finite statistic, and evidence that is JSON."""
    detector = OutOfDistribution(cut=0.0, warm_up=1)
    assert np.isfinite(detector.update(batch(0, np.full(3, value, np.float32)))).all()
    json.dumps(detector.evidence(-1), allow_nan=False)


def test_an_honest_past_protects_nobody() -> None:
    """After 20,000 honest queries a thief needs no more queries than after 1,000."""
    needed = []
    for honest in (1000, 20_000):
        detector = OutOfDistribution(cut=0.5)
        detector.update(batch(0, drawn(0.05, honest)))
        found = detector.update(batch(honest, np.ones(1000, np.float32)))
        needed.append(int((found > 0.1).argmax()) + 1)
    assert max(needed) < 100
    assert abs(needed[0] - needed[1]) < 30


def test_the_first_queries_are_no_noisier_than_later_ones() -> None:
    """The highest bound of honest lives leaves room below a thief who dilutes one to nine."""

    def highest(share: float, seed: int) -> float:
        found = OutOfDistribution(cut=0.5).update(batch(0, drawn(share, 5000, seed)))
        return float(np.nanmax(found))

    honest = [highest(0.05, seed) for seed in range(40)]
    diluted = [highest(0.05 + 0.1, seed) for seed in range(40)]
    assert max(honest) < min(diluted)


def test_evidence_names_the_least_in_distribution_of_the_window() -> None:
    """The highest scores first, of equals the oldest; those that left the window are gone."""
    values = np.zeros(300, np.float32)
    values[[3, 210, 220, 230, 250]] = [9, 2, 5, 5, 1]
    detector = OutOfDistribution(cut=1.5, window=100)
    detector.update(batch(1000, values))
    assert detector.evidence(99)["least_in_distribution"][0] == {"query": 1003, "score": 9.0}
    last = detector.evidence(299)
    assert last["least_in_distribution"][:4] == [
        {"query": 1220, "score": 5.0},
        {"query": 1230, "score": 5.0},
        {"query": 1210, "score": 2.0},
        {"query": 1250, "score": 1.0},
    ]
    assert (last["share"], last["out_of_distribution"]) == (0.03, 3)
    assert (last["count"], last["seen"], last["cut"]) == (100, 300, 1.5)


def test_a_score_at_the_cut_is_in_distribution() -> None:
    """Only what is above the cut counts."""
    detector = OutOfDistribution(cut=2.0, warm_up=1)
    detector.update(batch(0, np.float32([2, np.nextafter(np.float32(2), np.float32(3))])))
    assert detector.evidence(1)["out_of_distribution"] == 1


def test_queries_without_a_score_change_nothing() -> None:
    """They repeat the last statistic, and do not count towards the warm-up."""
    detector = OutOfDistribution(cut=0.0, warm_up=2)
    assert np.isnan(detector.update(batch(0, None, 5))).all()
    assert np.isnan(detector.update(batch(5, np.float32([1])))).all()
    [ready] = detector.update(batch(6, np.float32([1])))
    assert detector.update(batch(7, None, 3)).tolist() == [ready] * 3
    assert detector.evidence(2)["seen"] == 2


def test_all_queries_out_of_distribution_alarm_at_the_first_statistic() -> None:
    """By default it starts with the 50th score; its threshold needs no calibration."""
    found = OutOfDistribution(cut=0.0).update(batch(0, np.ones(60, np.float32)))
    assert np.isnan(found[:49]).all()
    assert (found[49:] > OutOfDistribution.threshold).all()


def test_the_bound_is_never_above_the_share() -> None:
    """0 of n gives 0, n of n less than 1, and more hits a higher bound."""
    for n in (1, 7, 1000):
        bounds = [lower_bound(hits, n) for hits in range(n + 1)]
        assert bounds == sorted(bounds)
        assert bounds[0] == 0
        assert all(bound <= hits / n for hits, bound in enumerate(bounds))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "gamekeeper calibrate"),
        ({"cut": math.inf}, "cut"),
        ({"cut": 0.0, "window": 49}, "from 50 to 10000"),
        ({"cut": 0.0, "window": 10_001}, "from 50 to 10000"),
        ({"cut": 0.0, "warm_up": 0}, "warm_up"),
        ({"cut": "x"}, "takes a value of type float"),
    ],
)
def test_unusable_options_are_refused(options: dict[str, object], message: str) -> None:
    """Options that mean nothing raise `ProfileError`, saying what to give."""
    with pytest.raises(ProfileError, match=message):
        build("ood", options)


def test_the_largest_window_fits_the_header() -> None:
    """With as many scores as it can hold, the state stays within its bounds."""
    detector = OutOfDistribution(cut=0.0, window=10_000)
    detector.update(batch(2**40, np.arange(1, 20_001, dtype=np.float32)))
    assert len(detector.header()) < min(4096, detector.limit())


def test_state_of_other_options_is_refused() -> None:
    """A header is of the options it was made with, and of none but these."""
    header = OutOfDistribution(cut=0.0).header()
    with pytest.raises(StateError, match="start the account afresh"):
        OutOfDistribution(cut=1.0).load(header, [])
