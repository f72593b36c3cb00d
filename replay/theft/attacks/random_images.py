"""Random sampling, which CopyCat and Knockoff Nets' random strategy are to the victim, too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Images, Oracle, Sent, Start, ask

PART = 32
"""Images per request: after each, answers are kept for an attack that is taken up again."""


def random_images(
    oracle: Oracle, start: Start, budget: int, rng: np.random.Generator
) -> Iterator[Sent]:
    """Steal by images drawn from the pool without replacement (Zhang and Wagner, section III-C).

    Three published attacks send these same queries and differ only in what the thief does with
    the answers: random sampling is active learning's baseline (Pal et al. 2020), CopyCat
    (Correia-Silva et al. 2018) trains on the labels, and Knockoff Nets' random strategy
    (Orekondy et al. 2019, section 4.1) on the probabilities. The attack ends early where the pool
    has fewer images than the budget: none is asked twice.

    Args:
        oracle: the way to the model that is stolen.
        start: only its pool is used.
        budget: the number of queries.
        rng: draws the images.

    Yields:
        The images, a part at a time, all of round 0.
    """
    return _asked(oracle, start, budget, rng.permutation(len(start.pool)))


def _asked(oracle: Oracle, start: Start, left: int, rows: NDArray[np.int64]) -> Iterator[Sent]:
    while left and len(rows):
        size = min(PART, left)
        sent = ask(oracle, start.pool[rows[:size]], synthetic=False, round=0)
        left, rows = left - len(sent.images), rows[size:]
        yield sent


def ask_in_parts(oracle: Oracle, images: Images, number: int) -> Iterator[Sent]:
    """Ask for natural images of the round of this number, `PART` at a time."""
    for at in range(0, len(images), PART):
        yield ask(oracle, images[at : at + PART], synthetic=False, round=number)
