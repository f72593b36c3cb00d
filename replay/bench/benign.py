"""Honest accounts: what detectors say of them at most, chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from gamekeeper.detectors.base import Floats
from gamekeeper.replay.bench.pools import Pool, load_pool
from gamekeeper.replay.bench.watch import Rows, Watch, statistics
from gamekeeper.replay.bench.workers import Advance, over
from gamekeeper.replay.evaluation.rates import CHUNK
from gamekeeper.schemas.errors import TraceError

SPARE = 3
"""A pool has at least so many times the images of one life."""


def draw(images: int, accounts: int, life: int, rng: np.random.Generator) -> Rows:
    """Draw `(accounts, life)` rows of a pool; an account sends no image twice.

    Accounts draw from the same images, so that they are less different than strangers are, and a
    threshold from them is too low: with lives as long as the pool, 21 % of the accounts of another
    pool of digits alarmed at a promised 1 %. Raises `TraceError` where a life is more than a third
    of the pool.
    """
    if images < SPARE * life:
        raise TraceError(
            f"{images} images for accounts of {life} queries: they would all be the same; "
            f"{SPARE * life} are needed for each side, {round(SPARE * life / 0.3)} in all"
        )
    return np.stack([rng.permutation(images)[:life] for _ in range(accounts)])


def chunk_maxima(
    pool: Pool, watches: Mapping[str, Watch], jobs: int, advance: Advance
) -> dict[str, Floats]:
    """Give `(accounts, chunks)` largest statistics of 50 queries each, minus infinity for none."""
    accounts = range(len(pool.accounts()))
    found = over(partial(_account, pool.path, dict(watches)), accounts, jobs, advance)
    return {name: np.stack([found[each][name] for each in accounts]) for name in watches}


def _account(path: str, watches: dict[str, Watch], number: int) -> dict[str, Floats]:
    queries, accounts = load_pool(path)
    found = {}
    for name, watch in watches.items():
        scores = statistics(watch, queries, accounts[number])
        padded = np.full(math.ceil(len(scores) / CHUNK) * CHUNK, np.nan)
        padded[: len(scores)] = scores
        found[name] = np.nan_to_num(padded.reshape(-1, CHUNK), nan=-np.inf).max(axis=1)
    return found
