"""Mixup: weighted means of two of the thief's images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Images, Oracle, Sent, Start, quantise
from gamekeeper.replay.theft.craft import rounds


def mixup(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    alpha: float = 1.0,
) -> Iterator[Sent]:
    """Steal with mixtures of seeds (Zhang et al. 2018, "mixup", section 2).

    Each round mixes every seed with another one, pixel by pixel, by weights drawn from a Beta
    distribution. The paper mixes the labels by the same weights; a thief asks for them.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0, and what is mixed.
        budget: the number of queries, seeds included.
        rng: draws the pairs and the weights.
        alpha: the Beta distribution's two parameters; 1 draws weights evenly, below 1 most of them
            are near 0 and 1.

    Yields:
        The queries of each round.
    """
    return rounds(oracle, start, budget, _mixed(start.seeds, alpha, rng))


def _mixed(seeds: Images, alpha: float, rng: np.random.Generator) -> Iterator[Images]:
    while True:
        ones = rng.permutation(seeds)
        others = np.roll(ones, 1, axis=0)
        weights = rng.beta(alpha, alpha, (len(ones), *[1] * (ones.ndim - 1)))
        yield quantise(weights * ones + (1.0 - weights) * others)
