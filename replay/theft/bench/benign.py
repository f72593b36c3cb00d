"""Honest accounts: what detectors say of them at most, chunk by chunk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from gamekeeper.detectors.base import Floats
from gamekeeper.detectors.engine import DetectorProfile
from gamekeeper.replay.theft.bench.judge import statistics
from gamekeeper.replay.theft.bench.pools import Pool, Rows, load_pool
from gamekeeper.replay.tune.evaluation import CHUNK
from gamekeeper.replay.tune.processes import Advance, over
from gamekeeper.schemas.errors import TraceError

SPARE = 3
"""A pool has at least so many times the images of one life."""
SHARE = 1 / 3
"""Of a grouped pool's groups, those that one calibration account draws from; see `draw_grouped`."""


def draw(images: int, accounts: int, life: int, rng: np.random.Generator) -> Rows:
    """Draw `(accounts, life)` rows of a pool; an account sends no image twice.

    Accounts draw from the same images, so that they are less different than strangers are, and a
    threshold from them is too low: with lives as long as the pool, 21 % of the accounts of another
    pool of digits alarmed at a promised 1 %. Raises `TraceError` where a life is more than a third
    of the pool.
    """
    _check(images, life)
    return np.stack([rng.permutation(images)[:life] for _ in range(accounts)])


def draw_grouped(groups: Rows, accounts: int, life: int, rng: np.random.Generator) -> Rows:
    """Draw `(accounts, life)` rows of a pool whose images come in groups, for calibration.

    `groups` `(n,)` numbers each image's group. An account draws from a third of the groups, or from
    as many more as its life needs, and sends no image twice.

    Accounts that draw from all groups of a side differ from one another by their images, but share
    what makes the side's groups differ from another side's. Where that is a deviation of variance v
    for each of n groups, two sides differ by one of variance 2v/n, and so do the accounts of one
    side from its mean where each has a share s of its groups with (1 - s)/s = 2, that is a third.
    On ten cuts of GTSRB's tracks, at a promised 1 %, accounts that drew from the other side's were
    flagged at 0.8 % in the mean, 4.2 % at worst; with thresholds from accounts that draw from all
    tracks of a side, at 14.6 % and 53.8 % (`tests/studies/cuts.py`).
    Raises `TraceError` where `draw` does.
    """
    _check(len(groups), life)
    return np.stack([_of_some(groups, life, rng) for _ in range(accounts)])


def _check(images: int, life: int) -> None:
    if images < SPARE * life:
        raise TraceError(
            f"{images} images for accounts of {life} queries: they would all be the same; "
            f"{SPARE * life} are needed for each side, {round(SPARE * life / 0.3)} in all"
        )


def _of_some(groups: Rows, life: int, rng: np.random.Generator) -> Rows:
    numbers, sizes = np.unique(groups, return_counts=True)
    order = rng.permutation(len(numbers))
    enough = int(np.searchsorted(sizes[order].cumsum(), life)) + 1
    chosen = numbers[order[: max(enough, round(SHARE * len(numbers)))]]
    return rng.permutation(np.flatnonzero(np.isin(groups, chosen)))[:life]


def chunk_maxima(
    pool: Pool, detectors: Mapping[str, DetectorProfile], jobs: int, advance: Advance
) -> dict[str, Floats]:
    """Give `(accounts, chunks)` largest statistics of 50 queries each, minus infinity for none."""
    accounts = range(len(pool.accounts()))
    found: dict[int, dict[str, Floats]] = {}
    work = partial(_account, pool.path, dict(detectors))
    for account, maxima in over(work, accounts, jobs, undeterred=True):
        found[account] = maxima
        advance(len(found), len(accounts))
    return {name: np.stack([found[each][name] for each in accounts]) for name in detectors}


def _account(path: str, detectors: dict[str, DetectorProfile], number: int) -> dict[str, Floats]:
    queries, accounts = load_pool(path)
    found = statistics(detectors, queries.batches(accounts[number]))
    return {name: _by_chunk(values) for name, values in found.items()}


def _by_chunk(values: Floats) -> Floats:
    padded = np.full(math.ceil(len(values) / CHUNK) * CHUNK, -np.inf)
    padded[: len(values)] = np.nan_to_num(values, nan=-np.inf)
    largest: Floats = padded.reshape(-1, CHUNK).max(axis=1)
    return largest
