"""Pairs of similar vectors by the obvious loop, with all that is forgotten, and such traffic."""

from __future__ import annotations

from hashlib import blake2b
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.similarity import Similarity

Vectors = NDArray[np.float32]
RULES = ["nearest", "all"]


def kept(query: int, share: int, secret: int) -> bool:
    """Say whether a query is one of `share` that pass on."""
    key = blake2b(str(secret).encode()).digest()
    hashed = blake2b(query.to_bytes(8, "little"), key=key, digest_size=8).digest()
    return int.from_bytes(hashed, "little") % share == 0


def memories(
    n: int, history: int, reserve: int = 400, keep: int = 4, secret: int = 0
) -> list[list[list[int]]]:
    """List which queries each memory holds when each of `n` queries arrives."""
    held: list[list[int]] = [[], [], [], [], []]
    before = []
    for query in range(n):
        before.append([list(each) for each in held])
        held[0].append(query)
        for level, most in enumerate([history, *[reserve] * 4]):
            if len(held[level]) > most:
                oldest = held[level].pop(0)
                if level < 4 and kept(oldest, keep ** (level + 1), secret):
                    held[level + 1].append(oldest)
    return before


def obvious(
    vectors: Vectors, rule: str, delta: float, history: int = 10**6, **bounds: int
) -> tuple[list[float], list[tuple[int, int, float]]]:
    """Count pairs by comparing every query with each that any memory holds."""
    counts, pairs = [], []
    for i, held in enumerate(memories(len(vectors), history, **bounds)):
        found = []
        for j in sorted(chain(*held)):
            difference = vectors[i].astype(np.float64) - vectors[j].astype(np.float64)
            distance = float(np.sqrt((difference**2).sum()))
            if distance < delta:
                found.append((distance, j))
        if found and rule == "nearest":
            found = [min(found)]
        pairs += [(i, j, distance) for distance, j in found]
        counts.append(float(len(pairs)))
    return counts, pairs


def batch(first: int, vectors: NDArray[Any] | None, n: int = 0) -> Batch:
    """Make queries that matter by their vectors only."""
    n = n if vectors is None else len(vectors)
    features = {} if vectors is None else {"embedding": vectors}
    return Batch(first, np.zeros((n, 1)), np.zeros(n, np.int64), features=features)


def feed(detector: Similarity, vectors: Vectors, size: int) -> tuple[list[float], list[Any]]:
    """Feed in batches; give statistics and the pairs that the evidence names, each once."""
    counts, pairs = [], []
    for at in range(0, len(vectors), size):
        counts += detector.update(batch(at, vectors[at : at + size])).tolist()
        for row in range(len(vectors[at : at + size])):
            for pair in detector.evidence(row)["latest"]:
                named = (pair["query"], pair["earlier"], pair["distance"])
                if named[0] == at + row:
                    pairs.append(named)
    return counts, pairs


def clusters(seed: int, n: int = 300, d: int = 24, spread: float = 0.05) -> Vectors:
    """Draw vectors around fewer centres, far from the origin, with repeats among them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (n // 3, d)) + 5
    vectors = centres[rng.integers(0, len(centres), n)] + rng.normal(0, spread, (n, d))
    vectors[rng.integers(0, n, n // 10)] = vectors[rng.integers(0, n, n // 10)]
    return vectors.astype(np.float32)
