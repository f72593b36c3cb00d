"""The growing set against the obvious loop, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import distance as scipy_distance

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.growing import DISTANCES, GrowingSet
from gamekeeper.detectors.growing.distances import L2
from gamekeeper.detectors.growing.growing_set import Steps
from gamekeeper.schemas.errors import StateError
from support import digits, oracle

KINDS = sorted(DISTANCES)


def check(
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    kind: str = "l2",
    growths: int = 4096,
    batches: tuple[int, ...] = (1, 7, 10_000),
) -> None:
    """Compare a growing set with the oracle for several batch sizes."""
    steps = oracle.growing_set(inputs, labels, kind, growths)
    for size in batches:
        growing = GrowingSet(kind, growths)
        parts = [
            growing.update(at, inputs[at : at + size], labels[at : at + size])
            for at in range(0, len(labels), size)
        ]
        distance = np.concatenate([part.distance for part in parts])
        expected = np.array([np.nan if s.distance is None else s.distance for s in steps])
        assert np.array_equal(distance, expected, equal_nan=True)
        nearest = np.concatenate([part.nearest for part in parts])
        assert nearest.tolist() == [step.nearest for step in steps]
        joined = np.concatenate([part.joined for part in parts])
        assert joined.tolist() == [step.joined for step in steps]
        count = np.concatenate([part.size for part in parts])
        assert count.tolist() == [step.size for step in steps]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("growths", [4096, 60, 1])
def test_digits(kind: str, growths: int) -> None:
    """Distances, decisions and sizes on digits are the loop's bits, also when forgetting."""
    inputs, labels = digits.digits(400, seed=4)
    check(inputs, labels, kind, growths)


def clouds(
    seed: int, scale: float, columns: int, dtype: str
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Points with duplicates, near-duplicates and ties among them."""
    rng = np.random.default_rng(seed)
    points = rng.integers(-3, 4, (120, columns)) * 1.0
    points[40:60] = points[:20]
    points[60:80] = points[:20] + 1e-7 * rng.normal(size=(20, columns))
    points[80:100] = points[:20] * (1 + 1e-15)
    return (points * scale).astype(dtype), rng.integers(0, 3, 120)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-200, 1e-42, 1e-20, 1.0, 1e18, 1e30, 1e150, 1e300]),
    st.sampled_from([1, 2, 5, 40]),
    st.sampled_from(["float64", "float32", "float16", "int64", "int8"]),
    st.sampled_from(KINDS),
    st.sampled_from([4096, 20]),
)
def test_any_scale_and_type(
    seed: int, scale: float, columns: int, dtype: str, kind: str, growths: int
) -> None:
    """Ties, near-duplicates, tiny and huge values of every type are resolved as by the loop."""
    with np.errstate(all="ignore"):
        inputs, labels = clouds(seed, scale, columns, dtype)
        if inputs.dtype.kind == "f":
            inputs = np.nan_to_num(inputs)
        check(inputs, labels, kind, growths)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "uint64", "int32"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_types(dtype: str, kind: str) -> None:
    """Images of integers and booleans are compared by value, up to the type's limits."""
    rng = np.random.default_rng(0)
    most = 1 if dtype == "bool" else np.iinfo(dtype).max
    inputs = rng.integers(0, most, (150, 4, 5), endpoint=True, dtype="uint64").astype(dtype)
    check(inputs, rng.integers(0, 4, 150), kind)


def neighbours(count: int) -> NDArray[np.uint8]:
    """An image, and others of which each is one step from it: two pixels differ."""
    image = (255 * digits.digits(1)[0][0]).astype(np.uint8)
    rows = np.tile(image, (count, 1))
    size = image.size
    for i in range(1, count):
        gap, pixel = divmod(i - 1, size)
        for at in (pixel, (pixel + gap + 1) % size):
            rows[i, at] = int(image[at]) + (32 if image[at] < 128 else -32)
    return rows


def test_images_that_lie_close_together() -> None:
    """Images that float32 cannot tell apart are resolved as by the loop, floats of them, too."""
    rows = neighbours(700)
    labels = np.arange(700) % 2
    check(rows, labels, batches=(1, 100, 10_000))
    check(rows.astype(np.float32) * np.float32(1 / 255), labels, batches=(100,))


def test_images_that_lie_close_together_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what such a sender has sent before, few images are measured for each new one."""
    measured = 0
    exact = L2.exact

    def counting(self: L2, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
        nonlocal measured
        measured += len(other)
        return exact(self, one, other)

    monkeypatch.setattr(L2, "exact", counting)
    rows = neighbours(1500)
    steps = GrowingSet().update(0, rows, np.zeros(1500, np.int64))
    assert steps.joined.all()  # all of them are members
    assert measured < 1500 * 100


def test_long_rows() -> None:
    """Rows longer than one product are resolved as by the loop."""
    rng = np.random.default_rng(0)
    inputs = rng.random((60, 9000), dtype=np.float32)
    inputs[30:40] = inputs[:10] + np.float32(1e-4)
    check(inputs, np.zeros(60, np.int64), batches=(3, 60))


def test_long_rows_whose_squares_float32_cannot_hold() -> None:
    """A member whose norm just overflows float32 is found, too, where a query's does not."""
    rows = np.array([[2.7e17], [2.757e17], [2.735e17]], np.float32).repeat(9000, axis=1)
    check(rows, np.zeros(3, np.int64), batches=(1, 3))


def test_cosine_is_scipys() -> None:
    """The cosine distance is SciPy's, and 0 for equal directions."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, 30))
    kind = DISTANCES["cosine"]
    x, y = kind.prepare(rows)
    [found] = kind.exact(x, y[None])
    assert found == pytest.approx(scipy_distance.cosine(*rows), rel=1e-12)
    x, y = kind.prepare(np.stack([rows[0], rows[0] * 4]))
    assert kind.exact(x, y[None])[0] == 0.0


def test_memory_is_bounded_in_bytes() -> None:
    """Large rows are forgotten before there are `growths` of them."""
    rng = np.random.default_rng(0)
    growing = GrowingSet(growths=4096, megabytes=1)
    growing.update(0, rng.random((500, 1000)), np.zeros(500, np.int64))
    grown, forgotten = growing.position
    assert 100 < grown - forgotten <= 2**20 // 8000
    assert sum(len(segment.data) for segment in growing.drain()) <= growing.limit()


def test_types_may_mix() -> None:
    """Rows of several types in one class are compared by value."""
    growing = GrowingSet()
    growing.update(0, np.array([[3, 4]], np.uint8), np.array([1]))
    [distance] = growing.update(1, np.array([[3, 4]], np.float64), np.array([1])).distance
    assert distance == 0.0
    [distance] = growing.update(2, np.array([[3, 2**60]], np.int64), np.array([1])).distance
    assert distance == 2.0**60
    growing.update(3, np.array([[3, 4 + 2**-40]]), np.array([2]))
    [distance] = growing.update(4, np.array([[3, 4]], np.float32), np.array([2])).distance
    assert distance == 2.0**-40


@pytest.mark.parametrize("at", [0, 300])
def test_one_wide_event_does_not_blur_the_others(at: int) -> None:
    """Float32 rows around a float64 one find their nearest as the loop does, in any batching."""
    rng = np.random.default_rng(0)
    image = rng.uniform(100, 255, 784)
    rows = list((image + 1e-2 * rng.normal(size=(601, 784))).astype(np.float32))
    rows[at] = image
    check_mixed(rows, np.zeros(601, np.int64))


def check_mixed(
    rows: list[NDArray[Any]], labels: NDArray[np.int64], kind: str = "l2", growths: int = 4096
) -> None:
    """Compare rows of their own types with the oracle, in two batchings, saved and restored."""
    steps = oracle.growing_set(np.array([row.astype(float) for row in rows]), labels, kind, growths)
    for size in (7, 10_000):
        for restored in (False, True):
            found = fed(rows, labels, size, restored, kind, growths)
            assert np.array_equal(found.nearest, [step.nearest for step in steps])
            distance = [np.nan if step.distance is None else step.distance for step in steps]
            assert np.array_equal(found.distance, distance, equal_nan=True)
            assert np.array_equal(found.joined, [step.joined for step in steps])
            assert np.array_equal(found.size, [step.size for step in steps])


def fed(
    rows: list[NDArray[Any]],
    labels: NDArray[np.int64],
    size: int,
    restored: bool,
    kind: str,
    growths: int,
) -> Steps:
    """Feed rows in batches of one type and at most a size; restore the set now and then."""
    growing, start = GrowingSet(kind, growths), 0
    segments: list[Segment] = []
    parts: list[Steps] = []
    while start < len(rows):
        stop = start + 1
        while stop < min(len(rows), start + size) and rows[stop].dtype == rows[start].dtype:
            stop += 1
        parts.append(growing.update(start, np.array(rows[start:stop]), labels[start:stop]))
        start = stop
        if restored and len(parts) % 3 == 0:
            segments += growing.drain()
            position, growing = growing.position, GrowingSet(kind, growths)
            growing.load(*position, [each for each in segments if each.end > position[1]])
    return Steps(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-30, 1.0, 1e3, 1e18, 1e30]),
    columns=st.sampled_from([1, 5, 200, 5000]),
    kind=st.sampled_from(KINDS),
    growths=st.sampled_from([4096, 20]),
)
def test_any_mixture_of_types(
    seed: int, scale: float, columns: int, kind: str, growths: int
) -> None:
    """Types in any order, near-duplicates across them included, are resolved as by the loop."""
    rng = np.random.default_rng(seed)
    points = scale * rng.uniform(1, 2, (120, columns))
    points[40:80] = points[:40] * (1 + 1e-7 * rng.normal(size=(40, columns)))
    points[80:] = points[:40]
    types = ["float64", "float32", *(["float16", "int64", "uint16"] if scale == 1e3 else [])]
    order = np.repeat(rng.choice(types, 24), 5)
    rows = [row.astype(each) for row, each in zip(points, order, strict=True)]
    check_mixed(rows, rng.integers(0, 3, 120), kind, growths)


def test_segments_left_by_a_crash_do_no_harm() -> None:
    """Segments beyond the header's position, and overlapping ones, restore the same set."""
    inputs, labels = digits.digits(120)
    growing, other = GrowingSet(), GrowingSet()
    growing.update(0, inputs[:60], labels[:60])
    segments = growing.drain()
    position = growing.position
    growing.update(60, inputs[60:], labels[60:])
    other.load(*position, [*segments, *segments, *growing.drain()])
    steps = other.update(60, inputs[60:], labels[60:])
    assert np.array_equal(steps.nearest, oracle_nearest(inputs, labels)[60:])


def oracle_nearest(inputs: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ask the loop."""
    return np.array([step.nearest for step in oracle.growing_set(inputs, labels)])


def test_damaged_segments_are_refused() -> None:
    """A cut segment, one of an unknown type and a missing one raise `StateError`."""
    growing = GrowingSet()
    growing.update(0, *digits.digits(30))
    [segment] = growing.drain()
    damaged = bytearray(segment.data)
    damaged[32:35] = b"zz9"
    for data in (segment.data[:-9], bytes(damaged), b""):
        with pytest.raises(StateError):
            GrowingSet().load(*growing.position, [Segment("growths", segment.end, data)])
