"""The similarity detector's rate at a history of so many vectors, beside an obvious loop; one core.

`python tests/bench/bench_similarity.py [HISTORY]...` prints CPU microseconds per query, so that
other work on the machine counts little, of vectors of 256 float32 values that make few pairs:

* numpy: `np.linalg.norm(history - x, axis=1).min()` per query;
* gamekeeper: the detector, history and reserves full, in batches of several sizes, by both rules;
* repeats: an account that sends one query only, so that every vector is near every other.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.similarity import Similarity
from gamekeeper.detectors.vectors.history import LEVELS

LENGTH = 256
HISTORIES = (1_000, 10_000)
BATCHES = (256, 32, 1)
SECONDS = 0.15
DELTA = 1.0
RESERVE = 400
DISTINCT = 40_000
"""Vectors that are sent again and again: when one returns, it is rarely still there."""
Vectors = NDArray[np.float32]


def batch(first: int, vectors: Vectors) -> Batch:
    """Make queries that matter by their vectors only."""
    n = len(vectors)
    labels = np.zeros(n, np.int64)
    return Batch(first, np.zeros((n, 1)), labels, features={"embedding": vectors})


def timed(step: Callable[[], object], size: int) -> float:
    """Give CPU microseconds per query of steps of `size` queries, the best of three rounds."""
    best = np.inf
    for _ in range(3):
        start, done = time.process_time(), 0
        while time.process_time() - start < SECONDS:
            step()
            done += size
        best = min(best, (time.process_time() - start) / done)
    return best * 1e6


def rates(
    history: int, rule: str, vectors: Vectors, sizes: tuple[int, ...], keep: int = 4
) -> list[float]:
    """Time a detector whose memories are full, for batches of several sizes."""
    found = Similarity(pairs=rule, delta=DELTA, history=history, reserve=RESERVE, keep=keep)
    queries = 0

    def step(size: int) -> None:
        nonlocal queries
        begin = queries % (len(vectors) - size + 1)
        found.update(batch(queries, vectors[begin : begin + size]))
        queries += size

    step(256)
    while found.evidence(0)["reserve"] < LEVELS * RESERVE:
        step(256)
    return [timed(lambda size=size: step(size), size) for size in sizes]


def main() -> None:
    """Print the tables."""
    histories = [int(each) for each in sys.argv[1:]] or HISTORIES
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 1, (DISTINCT, LENGTH)).astype(np.float32)
    print(f"vectors of {LENGTH} float32 values, one account, one core")
    print(f"{'history':>8}  {'':34}{'us/query':>10}{'queries/s':>11}{'x numpy':>9}")
    for history in histories:
        kept, x = vectors[:history], vectors[-1]
        loop = timed(lambda kept=kept, x=x: np.linalg.norm(kept - x, axis=1).min(), 1)
        rows = [("numpy", loop)]
        sizes = zip(BATCHES, rates(history, "nearest", vectors, BATCHES), strict=True)
        rows += [(f"nearest, batches of {size}", spent) for size, spent in sizes]
        rows += [("all, batches of 256", *rates(history, "all", vectors, (256,)))]
        repeats = np.ones((256, LENGTH), np.float32)  # slow: with keep 1 the reserves fill sooner
        rows += [
            ("repeats, nearest, batches of 256", *rates(history, "nearest", repeats, (256,), 1))
        ]
        for name, spent in rows:
            print(f"{history:8}  {name:34}{spent:10.1f}{1e6 / spent:11.0f}{loop / spent:9.1f}")


if __name__ == "__main__":
    main()
