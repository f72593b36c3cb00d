"""Smoothing: each of the thief's images as several copies, shifted by a little."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Images, Oracle, Sent, Start, ask, lens

PIXELS = 1.0
"""The largest shift, in each direction."""


def smoothing(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    copies: int = 3,
    pixels: float = PIXELS,
) -> Iterator[Sent]:
    """Steal with copies of natural images, shifted at random; the originals are kept back.

    From none of the papers. The answers to an image's copies, averaged, are smoother than one, and
    no two queries are the same; each is as far from its like as two frames of a camera. The attack
    ends early where seeds and pool have fewer images than it needs.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds, then its pool, are what is shifted.
        budget: the number of queries.
        rng: draws the order and the shifts.
        copies: queries of each image.
        pixels: the largest shift, in each direction.

    Yields:
        The copies of one image after the other, all of round 0.
    """
    left = budget
    for image in _originals(start, rng):
        if not left:
            return
        down, right = rng.uniform(-pixels, pixels, (2, copies))
        made = lens.moved(image[None].repeat(copies, axis=0), down, right)
        sent = ask(oracle, made[:left], synthetic=True, round=0)
        left -= len(sent.images)
        yield sent


def _originals(start: Start, rng: np.random.Generator) -> Iterator[Images]:
    yield from rng.permutation(start.seeds)
    yield from rng.permutation(start.pool)
