"""Vectors kept as bytes are found, compared and saved as floats are, in a quarter of the room."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gamekeeper.detectors.vectors import Bounds, FlatIndex, VectorHistory, closest
from gamekeeper.detectors.vectors.index import LONGEST, narrow

LENGTH = 6


def drawn(seed: int, n: int, levels: int) -> NDArray[np.float32]:
    """Draw vectors of few levels, so that many lie at one distance from each other."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, levels, (n, LENGTH)).astype(np.float32)


@given(
    seed=st.integers(0, 2**32 - 1),
    levels=st.sampled_from([2, 3, 256]),
    narrow=st.booleans(),
    size=st.sampled_from([1, 5, 40]),
    odd=st.integers(0, 39),
)
def test_the_nearest_is_that_of_the_obvious_loop(
    seed: int, levels: int, narrow: bool, size: int, odd: int
) -> None:
    """Of equals the oldest, among those not forgotten; also where one vector is not of bytes."""
    vectors = drawn(seed, 40, levels)
    vectors[odd] += np.float32(seed % 3 / 4)
    history = VectorHistory(Bounds(15, 1, reserve=0, keep=1, secret=0), narrow=narrow)
    found: dict[int, tuple[float, int]] = {}
    for at in range(0, len(vectors), size):
        part = vectors[at : at + size]
        queries = np.arange(at, at + len(part))
        index = history.add(queries, part).among
        for near in index.nearest(len(part)):
            distance, row = closest(index, near)
            found[index.query(near.row)] = distance, index.query(row)
            assert [index.query(each) for each in index.live(near.row)] == list(
                range(max(0, index.query(near.row) - 15), index.query(near.row))
            )
        history.settle()
    for i in range(1, len(vectors)):
        first = max(0, i - 15)
        squared = ((vectors[first:i].astype(np.float64) - vectors[i]) ** 2).sum(axis=1)
        assert found[i] == (np.sqrt(squared.min()), first + int(squared.argmin()))


@pytest.mark.parametrize("odd", [None, 0, 30])
def test_bytes_are_saved_as_such(odd: int | None) -> None:
    """And read back, those of floats beside them; each counts as what it takes."""
    vectors = np.tile(drawn(1, 40, 256), (1, 100))
    if odd is not None:
        vectors[odd] += np.float32(0.5)
    bounds = Bounds(40, 1, reserve=0, keep=1, secret=0)
    history = VectorHistory(bounds, narrow=True)
    history.add(np.arange(40), vectors)
    segments = history.drain()
    floats = 0 if odd is None else 1
    length = 100 * LENGTH
    room = sum(len(each.data) for each in segments) - 8 * 40 - 4 * len(segments)
    assert room == (40 - floats) * length + floats * 4 * length
    other = VectorHistory(bounds, narrow=True)
    other.load(list(history.positions().values()), segments)
    again = other.add(np.array([40]), vectors[:1]).among
    [near] = again.nearest(1)
    assert closest(again, near) == (0.0, 0)
    assert np.array_equal(again.vectors(np.arange(40)), vectors)


@pytest.mark.parametrize(
    ("value", "kept"), [(0, True), (255, True), (256, False), (-1, False), (0.5, False)]
)
def test_what_is_kept_as_bytes(value: float, kept: bool) -> None:
    """Whole numbers from 0 to 255, whatever they came as."""
    row: NDArray[Any] = np.full((1, 4), 7, np.float32)
    row[0, 2] = value
    assert narrow(row).tolist() == [kept]


def test_very_long_vectors_are_floats() -> None:
    """What FAISS may be wrong by is too much for them."""
    index = FlatIndex(LONGEST + 1, narrow=True)
    index.add(np.ones((2, LONGEST + 1), np.float32), np.arange(2))
    assert index.__sizeof__() > 4 * 2 * LONGEST
    assert narrow(np.ones((1, LONGEST + 1), np.float32)).tolist() == [False]
