"""PRADA's rate beside obvious implementations: 6,000 digits of 784 float32 values, one core.

`python tests/bench/bench_prada.py` prints CPU microseconds per query, so that other work on the
machine counts little, of three programs that do the same:

* loop: as the authors' code does it, a Python loop over the growing set with
  `np.sqrt(np.sum((x - y) ** 2))` per member, and SciPy's test, though at every query;
* numpy: the norms of a class in one call, SciPy's test at every query;
* gamekeeper: the detector, for several batch sizes, first with empty caches (as a new process has
  them), then with the Shapiro-Wilk coefficients that an earlier account left behind.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.prada import Prada
from support.coefficients import forget_coefficients
from support.digits import digits

QUERIES = 6000
BATCHES = (6000, 512, 64, 8, 1)
THRESHOLDS = (0.02, 0.04)
"""The paper's for MNIST, and one that these benign digits cross again and again."""
ROUNDS = 3
Floats = NDArray[np.float64]


def loop(inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> Floats:
    """Compare each query with each member of its class in Python."""
    return obvious(
        inputs,
        labels,
        lambda x, members: np.min(np.asarray([np.sqrt(np.sum((x - y) ** 2)) for y in members])),
    )


def numpy(inputs: NDArray[np.float32], labels: NDArray[np.int64]) -> Floats:
    """Compare each query with all members of its class in one call."""
    return obvious(
        inputs, labels, lambda x, members: np.linalg.norm(np.asarray(members) - x, axis=1).min()
    )


class Rows:
    """Rows that are appended to one matrix, for the obvious program that wants them so."""

    def __init__(self) -> None:
        """Start empty."""
        self.matrix = np.empty((64, 784), np.float32)
        self.n = 0

    def append(self, row: NDArray[np.float32]) -> None:
        """Add a row, doubling the matrix where it is full."""
        if self.n == len(self.matrix):
            self.matrix = np.concatenate([self.matrix, np.empty_like(self.matrix)])
        self.matrix[self.n] = row
        self.n += 1

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        """Give the rows."""
        return self.matrix[: self.n]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Go through the rows."""
        return iter(self.matrix[: self.n])


def obvious(
    inputs: NDArray[np.float32],
    labels: NDArray[np.int64],
    nearest: Callable[[NDArray[np.float32], Rows], Any],
) -> Floats:
    """Run Algorithm 3 as it is written."""
    members: dict[int, Rows] = {}
    grown: dict[int, list[float]] = {}
    threshold: dict[int, float] = {}
    found: list[float] = []
    statistics = np.full(len(labels), np.nan)
    for i, (x, c) in enumerate(zip(inputs, labels.tolist(), strict=True)):
        if c not in members:
            members[c], grown[c], threshold[c] = Rows(), [0.0], 0.0
            members[c].append(x)
        else:
            distance = float(nearest(x, members[c]))
            found.append(distance)
            if distance > threshold[c]:
                members[c].append(x)
                grown[c].append(distance)
                threshold[c] = max(threshold[c], np.mean(grown[c]) - np.std(grown[c]))
        if len(found) > 100:
            values = np.array(found)
            values = values[np.abs(values - values.mean()) <= 3 * values.std()]
            statistics[i] = 1 - stats.shapiro(values).statistic
    return statistics


def gamekeeper(
    inputs: NDArray[np.float32], labels: NDArray[np.int64], mode: str, size: int
) -> Floats:
    """Feed a detector in batches."""
    detector = Prada(mode=mode)
    return np.concatenate(
        [
            detector.update(Batch(at, inputs[at : at + size], labels[at : at + size]))
            for at in range(0, len(labels), size)
        ]
    )


def timed(run: Callable[[], Floats], rounds: int = 1) -> tuple[float, Floats]:
    """Give CPU microseconds per query, the best of some rounds, and the statistics."""
    best = np.inf
    for _ in range(rounds):
        start = time.process_time()
        statistics = run()
        best = min(best, time.process_time() - start)
    return best / QUERIES * 1e6, statistics


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    inputs, labels = digits(QUERIES)
    print(f"{QUERIES} queries of 784 float32 values in 10 classes, one account, one core")
    print(f"{'':34}{'us/query':>10}{'queries/s':>12}{'x loop':>9}{'x numpy':>9}")
    rows: list[tuple[str, float]] = []
    for size in BATCHES:
        forget_coefficients()
        rows.append((f"gamekeeper, batches of {size}, cold", 0.0))
        rows[-1] = (rows[-1][0], timed(lambda s=size: gamekeeper(inputs, labels, "paper", s))[0])
    for mode in ("paper", "hardened"):
        for size in BATCHES:
            spent, found = timed(lambda s=size, m=mode: gamekeeper(inputs, labels, m, s), ROUNDS)
            rows.append((f"gamekeeper {mode}, batches of {size}", spent))
            if mode == "paper":
                ours = found
    spent_numpy, theirs = timed(lambda: numpy(inputs, labels))
    spent_loop, _ = timed(lambda: loop(inputs, labels))
    for name, spent in [("loop", spent_loop), ("numpy", spent_numpy), *rows]:
        print(
            f"{name:34}{spent:10.1f}{1e6 / spent:12.0f}"
            f"{spent_loop / spent:9.1f}{spent_numpy / spent:9.1f}"
        )
    for threshold in THRESHOLDS:
        differ = int(np.count_nonzero((ours > threshold) != (theirs > threshold)))
        print(f"decisions at {threshold}: {int((ours > threshold).sum())} alarms, {differ} differ")
    print(f"largest difference of the statistic: {np.nanmax(np.abs(ours - theirs)):.1e}")


if __name__ == "__main__":
    main()
