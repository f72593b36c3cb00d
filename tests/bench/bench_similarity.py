"""The similarity detector's rate at a history of so many vectors, beside an obvious loop; one core.

`python tests/bench/bench_similarity.py [HISTORY]...` prints CPU microseconds per query, so that
other work on the machine counts little, of vectors of 256 float32 values that make few pairs, and
then how many pairs an attack makes whose variants wait for a history to pass:

* numpy: `np.linalg.norm(history - x, axis=1).min()` per query;
* gamekeeper: the detector, with its history full, in batches of several sizes, by both rules;
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

LENGTH = 256
HISTORIES = (1_000, 10_000)
BATCHES = (256, 32, 1)
SECONDS = 0.15
DELTA = 1.0
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


def rates(history: int, rule: str, vectors: Vectors, sizes: tuple[int, ...]) -> list[float]:
    """Time a detector whose history is full, for batches of several sizes."""
    found = Similarity(pairs=rule, delta=DELTA, history=history)
    queries = 0

    def step(size: int) -> None:
        nonlocal queries
        begin = queries % (len(vectors) - size + 1)
        found.update(batch(queries, vectors[begin : begin + size]))
        queries += size

    while queries < history:
        step(256)
    return [timed(lambda size=size: step(size), size) for size in sizes]


def waiting(history: int, seeds: int, variants: int, gap: int) -> tuple[int, int]:
    """Count queries and pairs of an attack that asks for variants of its seeds round by round.

    Between two rounds it sends natural queries until `gap` have passed since the round began.
    """
    rng = np.random.default_rng(0)
    d = 32
    centres = rng.normal(0, 1, (seeds, d)).astype(np.float32)
    found = Similarity(delta=0.5, history=history)
    at, pairs = 0, 0.0
    for _ in range(variants):
        steps = rng.normal(0, 0.02, (seeds, d)).astype(np.float32)
        fillers = rng.normal(0, 1, (max(0, gap - seeds), d)).astype(np.float32)
        vectors = np.concatenate([centres + steps, fillers])
        for start in range(0, len(vectors), 1024):
            part = vectors[start : start + 1024]
            pairs = float(found.update(batch(at, part))[-1])
            at += len(part)
    return at, int(pairs)


def main() -> None:
    """Print the tables."""
    histories = [int(each) for each in sys.argv[1:]] or HISTORIES
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 1, (max(histories) + 2048, LENGTH)).astype(np.float32)
    print(f"vectors of {LENGTH} float32 values, one account, one core")
    print(f"{'history':>8}  {'':34}{'us/query':>10}{'queries/s':>11}{'x numpy':>9}")
    for history in histories:
        kept, x = vectors[:history], vectors[-1]
        loop = timed(lambda kept=kept, x=x: np.linalg.norm(kept - x, axis=1).min(), 1)
        rows = [("numpy", loop)]
        sizes = zip(BATCHES, rates(history, "nearest", vectors, BATCHES), strict=True)
        rows += [(f"nearest, batches of {size}", spent) for size, spent in sizes]
        rows += [("all, batches of 256", *rates(history, "all", vectors, (256,)))]
        repeats = np.ones((256, LENGTH), np.float32)
        rows += [("repeats, nearest, batches of 256", *rates(history, "nearest", repeats, (256,)))]
        for name, spent in rows:
            print(f"{history:8}  {name:34}{spent:10.1f}{1e6 / spent:11.0f}{loop / spent:9.1f}")
    print("500 seeds, 10 variants of each, asked for in rounds, history 2,000:")
    for gap in (0, 1_000, 2_000, 2_001):
        queries, pairs = waiting(2_000, 500, 10, gap)
        print(f"  a round every {max(gap, 500):5} queries: {queries:6} queries, {pairs:5} pairs")
    queries, pairs = waiting(2_000, 2_001, 10, 0)
    print(f"  2,001 seeds, no waiting:      {queries:6} queries, {pairs:5} pairs")


if __name__ == "__main__":
    main()
