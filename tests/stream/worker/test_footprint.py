"""What an account holds in memory is measured, without asking its detectors."""

from __future__ import annotations

import tracemalloc
from collections import deque

import numpy as np
import pytest

from gamekeeper.detectors import catalog
from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.similarity import Similarity
from gamekeeper.stream.worker.footprint import footprint


def test_arrays_are_counted_once_and_whole() -> None:
    """Views of one array, however many, count as that array."""
    array = np.zeros((1000, 10))
    shared = [array, array[:1], array.reshape(-1)[::2], {"again": array}]
    assert array.nbytes < footprint(shared) < array.nbytes + 2000


def test_a_long_sequence_is_as_large_as_its_items() -> None:
    """Sequences are not walked item by item, and count all the same."""
    size = 1000
    items = deque((number + 10**6, bytes(100)) for number in range(size))
    assert size * 200 < footprint(items) < size * 400


@pytest.mark.parametrize("name", ["prada", "prada-v1", "likelihood"])
def test_a_detector_counts_as_what_was_allocated_for_it(name: str) -> None:
    """After many queries, the measure is at most twice what the interpreter counts."""
    rng = np.random.default_rng(0)
    rows = rng.gamma(0.5, size=(3000, 200)).astype(np.float32)
    labels, features = rng.integers(0, 3, len(rows)), {"log_likelihood": rows[:, :1]}
    tracemalloc.start()
    try:
        detector = catalog.build(name, {})
        detector.update(Batch(0, rows, labels, None, features))
        detector.drain()
        before = tracemalloc.get_traced_memory()[0]
        found = footprint(detector)
        del detector
        held = before - tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held * 0.7 < found < held * 2


def test_vectors_that_faiss_holds_are_counted() -> None:
    """What lies outside the interpreter's memory counts too."""
    detector = Similarity(delta=0.1)
    vectors = np.random.default_rng(0).normal(size=(2000, 64)).astype(np.float32)
    detector.update(Batch(0, vectors, np.zeros(2000, np.int64), None, {"embedding": vectors}))
    assert vectors.nbytes < footprint(detector) < 5 * vectors.nbytes
