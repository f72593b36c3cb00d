"""What is kept of an account's vectors: within bounds, restored exactly, refused where damaged."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.similarity import Similarity
from gamekeeper.schemas.errors import StateError
from support.pairs import RULES, batch, clusters, obvious


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 5),
    cuts=st.sets(st.integers(1, 299), max_size=10),
    rule=st.sampled_from(RULES),
    bounds=st.sampled_from([(25, 6, 2), (25, 0, 4), (60, 30, 1), (150, 400, 4), (1000, 400, 4)]),
    secret=st.integers(0, 2**64 - 1),
    delta=st.floats(1e-3, 1.0),
)
def test_any_batches_and_restores_are_the_same(
    seed: int, cuts: set[int], rule: str, bounds: tuple[int, int, int], secret: int, delta: float
):
    """Statistics and evidence of any cuts, restored at each, are those of the obvious loop."""
    vectors = clusters(seed)
    kept = {**dict(zip(("history", "reserve", "keep"), bounds, strict=True)), "secret": secret}
    counts, pairs = obvious(vectors, rule, delta, **kept)
    options = {"pairs": rule, "delta": delta, **kept}
    detector, segments, found = build("similarity", options), list[Segment](), list[float]()
    for start, stop in pairwise([0, *sorted(cuts), 300]):
        found += detector.update(batch(start, vectors[start:stop])).tolist()
        latest = detector.evidence(stop - start - 1)["latest"]
        before = [pair for pair in pairs if pair[0] < stop][-10:]
        assert [tuple(pair.values()) for pair in latest] == before
        segments += detector.drain()
        segments = [s for s in segments if s.end > detector.horizon()[s.log]]
        header, detector = detector.header(), build("similarity", options)
        detector.load(header, segments)
    assert found == counts


def test_megabytes_bound_the_state():
    """Long vectors push out old ones before there are `history` of them."""
    detector = Similarity(delta=1.0, megabytes=1, reserve=0)
    vectors = np.random.default_rng(0).normal(0, 1, (40, 30_000)).astype(np.float32)
    detector.update(batch(0, vectors))
    assert detector.evidence(39)["remembered"] == 2**20 // (30_000 * 4)
    assert sum(len(s.data) for s in detector.drain()) <= detector.limit()
    again = np.concatenate([vectors[-1:], vectors[:1]])
    assert detector.update(batch(40, again)).tolist() == [1.0, 1.0]


def test_bytes_bound_the_reserves():
    """Vectors of many lengths stay within the limit, in the reserves as in the history."""
    rng = np.random.default_rng(0)
    options = {"delta": 1.0, "megabytes": 1, "history": 100, "reserve": 50, "keep": 2}
    detector, segments, at = Similarity(**options), list[Segment](), 0
    for length in rng.permutation(np.repeat([500, 20_000, 3, 90_000], 30)).tolist():
        detector.update(batch(at, rng.normal(0, 1, (3, length)).astype(np.float32)))
        at += 3
        segments += detector.drain()
        segments = [s for s in segments if s.end > detector.horizon()[s.log]]
        assert sum(len(s.data) for s in segments) + len(detector.header()) <= detector.limit()
    assert 2 < detector.evidence(0)["reserve"] < 100
    restored = Similarity(**options)
    restored.load(detector.header(), segments)
    again = rng.normal(0, 1, (3, 500)).astype(np.float32)
    assert restored.update(batch(at, again)).tolist() == detector.update(batch(at, again)).tolist()
    assert restored.evidence(2) == detector.evidence(2)


@pytest.mark.parametrize("bounds", [{}, {"history": 20, "reserve": 8, "keep": 2}])
def test_what_a_crash_left_beyond_the_header_is_ignored(bounds: dict[str, Any]):
    """Segments of the lost batch are there when the header is older; the re-run is the same."""
    vectors = clusters(3)
    detector = Similarity(delta=0.35, **bounds)
    detector.update(batch(0, vectors[:100]))
    segments, header = detector.drain(), detector.header()
    expected = detector.update(batch(100, vectors[100:]))
    segments += detector.drain()
    assert len({segment.log for segment in segments}) == (5 if bounds else 1)
    restored = Similarity(delta=0.35, **bounds)
    restored.load(header, segments)
    assert np.array_equal(restored.update(batch(100, vectors[100:])), expected)
    assert restored.evidence(199) == detector.evidence(199)


def test_state_that_does_not_fit_is_refused():
    """Missing and damaged segments and other options are errors; the secret is in none."""
    vectors = clusters(3)
    detector = Similarity(delta=0.35)
    detector.update(batch(0, vectors[:100]))
    segments, header = detector.drain(), detector.header()
    with pytest.raises(StateError, match="100 are missing"):
        Similarity(delta=0.35).load(header, [])
    with pytest.raises(StateError, match="damaged"):
        Similarity(delta=0.35).load(header, [Segment("vectors", 1, b"\x01\x00\x00\x00abc")])
    with pytest.raises(StateError, match="options"):
        Similarity(delta=0.36).load(header, segments)
    with pytest.raises(StateError, match="options") as raised:
        Similarity(delta=0.35, secret=987654321).load(header, segments)
    assert "987654321" not in str(raised.value)
