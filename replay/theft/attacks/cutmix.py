"""CutMix: a rectangle of one of the thief's images in another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Images, Oracle, Sent, Start
from gamekeeper.replay.theft.craft import rounds


def cutmix(oracle: Oracle, start: Start, budget: int, rng: np.random.Generator) -> Iterator[Sent]:
    """Steal with seeds that have a part of another seed (Yun et al. 2019, section 3.1).

    Each round puts a rectangle of another seed into every seed, at the same place. Its share of the
    image is drawn evenly, its middle, too; what lies beyond the border is left out. The paper mixes
    the labels by the areas; a thief asks for them.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0, and what is mixed.
        budget: the number of queries, seeds included.
        rng: draws the pairs and the rectangles.

    Yields:
        The queries of each round.
    """
    return rounds(oracle, start, budget, _mixed(start.seeds, rng))


def _mixed(seeds: Images, rng: np.random.Generator) -> Iterator[Images]:
    while True:
        ones = rng.permutation(seeds)
        others = np.roll(ones, 1, axis=0)
        inside = rectangles(len(ones), ones.shape[1:3], rng)
        yield np.where(inside.reshape(*inside.shape, *[1] * (ones.ndim - 3)), others, ones)


def rectangles(count: int, sides: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw rectangles of an image's proportions: `(n, h, w)` bools, whether a pixel is inside."""
    share = np.sqrt(rng.uniform(size=(count, 1)))
    inside = []
    for side in sides:
        middle = rng.uniform(0.0, side, (count, 1))
        away = np.abs(np.arange(side) + 0.5 - middle)
        inside.append(away < share * side / 2)
    return inside[0][:, :, None] & inside[1][:, None, :]
