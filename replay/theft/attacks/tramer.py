"""Tramer's line-search attack: random images, then bisection to the victim's borders."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Images, Labels, Oracle, Sent, Start, ask

RANDOM_SHARE = 0.25
"""The share of the budget that is spent on random images (PRADA version 2, section II-F)."""
AT_ONCE = 256
"""Images of noise per request; the papers do not say."""
CLOSE = 1
"""A search ends when no pixel of its two ends differs by more: uint8 has nothing in between."""


def tramer(oracle: Oracle, start: Start, budget: int, rng: np.random.Generator) -> Iterator[Sent]:
    """Steal with line-search retraining (PRADA version 2, section II-F 1).

    No natural images: a quarter of the budget is uniform noise. The rest goes, one query at a
    time, into line searches between two noise images of different classes: the middle is asked
    and replaces the end on its side of the border, until the ends touch. As in Tramer et al.
    (2016, section 6.1) it is the victim's own border that is searched. Where all noise has one
    class there is nothing to search between, and the attack goes on with noise.

    Args:
        oracle: the way to the model that is stolen.
        start: only the shape of its seeds is used.
        budget: the number of queries.
        rng: draws the noise and the pairs.

    Yields:
        The noise (round 0), then the line-search queries one by one (round 1).
    """
    shape = start.seeds.shape[1:]
    size = max(1, round(budget * RANDOM_SHARE))
    noise = rng.integers(0, 256, (size, *shape), dtype=np.uint8)
    sent = ask(oracle, noise, synthetic=True, round=0)
    yield sent
    left = budget - len(sent.images)
    labels = sent.answers.labels
    if len(np.unique(labels)) < 2:
        yield from more_noise(oracle, shape, left, rng, 1)
        return
    while left:
        for step in search(oracle, *_pair(sent.images, labels, rng)):
            yield step
            left -= 1
            if not left:
                return


def more_noise(
    oracle: Oracle, shape: tuple[int, ...], left: int, rng: np.random.Generator, number: int
) -> Iterator[Sent]:
    """Ask uniform noise, in parts of the round of this number, until `left` images are answered."""
    while left:
        noise = rng.integers(0, 256, (min(AT_ONCE, left), *shape), dtype=np.uint8)
        sent = ask(oracle, noise, synthetic=True, round=number)
        left -= len(sent.images)
        yield sent


def _pair(images: Images, labels: Labels, rng: np.random.Generator) -> tuple[Images, Images, int]:
    """Draw two `(1, h, w)` images of different classes; the second one's class is not needed."""
    first = int(rng.integers(len(labels)))
    second = int(rng.choice(np.flatnonzero(labels != labels[first])))
    return images[[first]], images[[second]], int(labels[first])


def search(oracle: Oracle, inside: Images, outside: Images, label: int) -> Iterator[Sent]:
    """Halve the line between `inside`, of class `label`, and `outside`, of any other class."""
    while np.abs(inside.astype(np.int16) - outside).max() > CLOSE:
        middle = ((inside.astype(np.uint16) + outside) // 2).astype(np.uint8)
        sent = ask(oracle, middle, synthetic=True, round=1, probe=True)
        yield sent
        if sent.answers.labels[0] == label:
            inside = middle
        else:
            outside = middle
