"""What waiting costs an attacker whom `similarity` watches, with and without the reserves.

`python tests/bench/bench_forgetting.py [SEEDS]...` takes some minutes. Embeddings are synthetic:
seeds are far apart, variants of one seed nearer than delta. The attacker goes round-robin over
his seeds, with a new variant of each in every round: between two variants of a seed he sends as
many queries as he has seeds. (One with fewer seeds, who fills each round up with unlike queries,
makes as many pairs per crafted query.) He goes on for two rounds, and for 50,000 queries at
least, the budget in Zhang and Wagner. `history` is the default; "old" forgets oldest-first only,
"new" has reserves.

Each row is of `TRIALS` attackers with embeddings and secrets of their own: the share caught (50
pairs), the mean number of queries at the 50th pair, how many of them came after the first round,
and how many the detector's text promises.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.similarity import Similarity

SEEDS = (1_000, 5_000, 10_000, 20_000, 40_000)
TRIALS = 10
BUDGET = 50_000
PAIRS = 50
DIMENSIONS, DELTA, SPREAD = 32, 0.5, 0.02
"""Variants of a seed are about 0.16 apart, seeds 8."""
HISTORY, RESERVE, KEEP, LEVELS = 10_000, 400, 4, 4
"""The detector's defaults."""
RULES = {"old": 0, "new": RESERVE}
SIZE = 256


def attack(seeds: int, queries: int, rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """Give a round-robin attack's embeddings in batches."""
    centres = rng.normal(0, 1, (seeds, DIMENSIONS)).astype(np.float32)
    for at in range(0, queries, SIZE):
        numbers = np.arange(at, min(at + SIZE, queries)) % seeds
        yield centres[numbers] + rng.normal(0, SPREAD, (len(numbers), DIMENSIONS)).astype(
            np.float32
        )


def caught(seeds: int, pairs: str, reserve: int, trial: int) -> float:
    """Count the queries until the 50th pair; infinite where there is none."""
    detector = Similarity(pairs=pairs, delta=DELTA, history=HISTORY, reserve=reserve, secret=trial)
    at = 0
    for vectors in attack(seeds, max(2 * seeds, BUDGET), np.random.default_rng(trial)):
        n = len(vectors)
        features = {"embedding": vectors}
        counts = detector.update(Batch(at, np.zeros((n, 1)), np.zeros(n, np.int64), None, features))
        if counts[-1] >= PAIRS:
            return at + 1.0 + int(np.argmax(counts >= PAIRS))
        at += n
    return np.inf


def promised(seeds: int, reserve: int) -> float:
    """Work out the crafted queries until 50 pairs, after the first round."""
    reach = HISTORY
    for level in range(LEVELS + 1):
        if seeds <= reach:
            return float(PAIRS * KEEP**level)
        reach += reserve * KEEP ** (level + 1)
    return np.inf


def shown(value: float) -> str:
    """Spell a number of queries."""
    return f"{value:,.0f}" if np.isfinite(value) else "never"


def main() -> None:
    """Print the table."""
    print(f"{TRIALS} attackers a row, history {HISTORY:,}, new: reserves of {RESERVE}, keep {KEEP}")
    print(f"{'seeds':>8} {'pairs':8}{'rule':5}{'caught':>7}", end="")
    print(f"{'50th pair':>11}{'after':>8}{'promised':>10}")
    for seeds in [int(each) for each in sys.argv[1:]] or SEEDS:
        for pairs in ("nearest", "all"):
            for rule, reserve in RULES.items():
                found = np.array([caught(seeds, pairs, reserve, t) for t in range(TRIALS)])
                hits = found[np.isfinite(found)]
                mean = float(hits.mean()) if len(hits) else np.inf
                expected = promised(seeds, reserve)
                print(
                    f"{seeds:8,} {pairs:8}{rule:5}{len(hits) / TRIALS:7.0%}{shown(mean):>11}"
                    f"{shown(mean - seeds):>8}{shown(expected):>10}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
