"""Distances of statistics to honest ones, as the obvious loop has them; habits as text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.novelty import FARTHEST, Habits, Novelty, filled, parsed, written
from gamekeeper.schemas.errors import ProfileError

READS = ("prada", "similarity", "ood")


def known(seed: int = 0, points: int = 20) -> Habits:
    """Draw habits of three detectors."""
    rng = np.random.default_rng(seed)
    median, scale = rng.normal(size=3), rng.uniform(0.1, 2, 3)
    return parsed(written(Habits(READS, median, scale, rng.normal(0, 2, (points, 3)))))


def batch(statistics: Floats) -> Batch:
    """Make queries that the detectors said this of."""
    n = len(statistics)
    return Batch(0, np.zeros((n, 1)), np.zeros(n, np.int64), statistics=statistics)


def obvious(habits: Habits, statistics: Floats) -> list[float]:
    """Compare each row, with what was known before of what is not, with each point."""
    latest, found = [math.nan] * 3, []
    for row in statistics.tolist():
        latest = [old if math.isnan(new) else new for old, new in zip(latest, row, strict=True)]
        scaled = [
            0.0 if math.isnan(x) else max(-FARTHEST, min(FARTHEST, math.asinh((x - m) / s)))
            for x, m, s in zip(latest, habits.median, habits.scale, strict=True)
        ]
        distance = min(math.dist(scaled, point) for point in habits.points)
        found.append(math.nan if all(map(math.isnan, latest)) else distance)
    return found


@given(
    st.integers(0, 3),
    arrays(
        np.float64,
        (12, 3),
        elements=st.one_of(st.just(math.nan), st.floats(-1e300, 1e300, allow_subnormal=False)),
    ),
)
def test_it_is_the_distance_to_the_nearest_point(seed: int, statistics: Floats) -> None:
    """Of the latest known statistics, whatever they are; NaN before the first is known."""
    habits = known(seed)
    mine = Novelty(habits=written(habits)).update(batch(statistics))
    np.testing.assert_allclose(mine, obvious(habits, statistics), rtol=1e-9, atol=1e-12)


def test_honest_statistics_are_at_no_distance() -> None:
    """What a point was made of lies on it, as far as the text is exact."""
    habits = known()
    rows = np.array([habits.raw(at) for at in range(len(habits.points))])
    assert Novelty(habits=written(habits)).update(batch(rows)).max() < 1e-6


def test_evidence_names_what_differs_most_first() -> None:
    """With the account's own statistics, and those of the honest account that is most alike."""
    detector = Novelty(habits="prada,similarity,ood;0,10,0;1,1,1;0,0,0")
    detector.update(batch(np.array([[0.1, 500.0, math.nan]])))
    evidence = detector.evidence(0)
    assert evidence["differs"] == ["similarity", "prada", "ood"]
    assert evidence["statistics"] == {"prada": 0.1, "similarity": 500.0, "ood": None}
    assert evidence["nearest"] == {"prada": 0.0, "similarity": 10.0, "ood": 0.0}
    assert evidence["distance"] == pytest.approx(math.hypot(math.asinh(0.1), math.asinh(490)))
    assert Novelty.tell(evidence) == (
        "what its detectors say together they said of no honest account: of the one most like it "
        "they differ most in similarity 500 for 10 and prada 0.1 for 0"
    )


def test_habits_are_read_as_they_were_written() -> None:
    """Three decimals of a point, nine digits of its scale; equal points are written once."""
    habits = known()
    twice = habits._replace(points=np.vstack([habits.points, habits.points]))
    again = parsed(written(twice))
    assert (again.reads, again.points.shape) == (READS, (20, 3))
    np.testing.assert_allclose(again.points, habits.points, atol=5e-4)
    np.testing.assert_allclose(again.scale, habits.scale, rtol=1e-8)


@pytest.mark.parametrize(
    "text",
    [
        "prada",
        "prada;0;1",
        "prada,ood;0;1;0",
        "prada,prada;0,0;1,1;0,0",
        "prada,novelty;0,0;1,1;0,0",
        "prada;0;0;0",
        "prada;0;-1;0",
        "prada;nan;1;0",
        "prada;0;1;x",
        "prada,ood;0,0;1,1;0,0;1",
        ",".join("abcdefghi") + ";" + ";".join([",".join("1" * 9)] * 3),
    ],
)
def test_habits_that_cannot_be_meant_are_refused(text: str) -> None:
    """With the hint where they come from."""
    with pytest.raises(ProfileError, match="`gamekeeper calibrate` writes it"):
        build("novelty", {"habits": text})


def test_without_habits_it_is_never_ready() -> None:
    """It reads nothing, and says nothing."""
    detector = Novelty()
    assert detector.reads == ()
    assert np.isnan(detector.update(batch(np.zeros((3, 0))))).all()


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(0, 9), st.just(2)),
        elements=st.sampled_from([math.nan, 1, 2]),
    )
)
def test_what_is_not_said_is_what_was_said_last(statistics: Floats) -> None:
    """Column by column."""
    expected: list[list[float]] = []
    for row in statistics.tolist():
        before: list[Any] = expected[-1] if expected else [math.nan, math.nan]
        expected.append([b if math.isnan(v) else v for v, b in zip(row, before, strict=True)])
    np.testing.assert_array_equal(filled(statistics), np.reshape(expected, statistics.shape))
