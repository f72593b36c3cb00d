"""Tramer's simplest attack: random images only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.tramer import more_noise


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
    return more_noise(oracle, start.seeds.shape[1:], budget, rng, 0)
