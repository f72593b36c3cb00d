"""Tramer's simplest attack: random images only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.attacks.base import Oracle, Sent, Start, ask

AT_ONCE = 256
"""Images per request; the papers do not say."""


def tramer_random(
    oracle: Oracle, start: Start, budget: int, rng: np.random.Generator
) -> Iterator[Sent]:
    """Steal with uniformly random images (PRADA version 2, section II-F 1).

    The retraining with uniform queries of Tramer et al. (2016, section 6.1).

    Args:
        oracle: the way to the model that is stolen.
        start: only the shape of its seeds is used.
        budget: the number of queries.
        rng: draws the pixels.

    Yields:
        The noise, in parts, all of round 0.
    """
    shape = start.seeds.shape[1:]
    for begin in range(0, budget, AT_ONCE):
        size = min(AT_ONCE, budget - begin)
        noise = rng.integers(0, 256, (size, *shape), dtype=np.uint8)
        yield ask(oracle, noise, synthetic=True, round=0)
