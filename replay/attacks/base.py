"""What all attacks share: the victim they ask, the queries they yield, the loop around them.

An attack is a generator `attack(victim, seeds, budget, rng, ...)` of `Sent`: every image that it
sends to the victim, in order and exactly as sent. Images are uint8, as a public image interface
takes them; an attack that computes in real numbers rounds *before* it asks, so that each label
belongs to the image beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Floats = NDArray[np.float32]

WHITE = 255.0
"""The largest pixel value; the papers' step sizes `e/255` are `e` in these units."""


class Answers(NamedTuple):
    """What the victim says: `(n,)` top-1 classes and `(n, k)` probabilities."""

    labels: Labels
    probabilities: Floats


Victim = Callable[[Images], Answers]
"""The only access to the protected model: `(n, h, w)` uint8 images in, answers out."""


class Sent(NamedTuple):
    """Queries sent to the victim in one go, `(n, h, w)` uint8, with its answers.

    `synthetic` says whether an attack crafted them; `round` is 0 for the initial data and then
    counts the duplication rounds.
    """

    images: Images
    answers: Answers
    synthetic: bool
    round: int


def quantise(pixels: NDArray[Any]) -> Images:
    """Round real pixels of any shape to the uint8 range 0..255 that the interface takes."""
    images: Images = np.rint(np.clip(pixels, 0.0, WHITE)).astype(np.uint8)
    return images


def ask(victim: Victim, images: Images, *, synthetic: bool, round: int) -> Sent:  # noqa: A002
    """Send `(n, h, w)` images to the victim and note them together with its answers."""
    return Sent(images, victim(images), synthetic, round)


def duplicate(
    victim: Victim,
    seeds: Images,
    budget: int,
    learn: Callable[[Images, Labels], None],
    craft: Callable[[Images, Labels, int], NDArray[Any]],
) -> Iterator[Sent]:
    """Extract a model in duplication rounds (PRADA version 2, section II-E, Algorithm 1).

    `seeds` are the `(n, h, w)` natural images of round 0. Then, until `budget` queries are spent:
    `learn(images, labels)` trains the substitute on all that was labelled so far and
    `craft(images, labels, left)` makes new `(m, h, w)` images from it, of which the first `left`
    are sent.
    """
    sent = ask(victim, seeds[:budget], synthetic=False, round=0)
    images, labels = sent.images, sent.answers.labels
    yield sent
    for number in count(1):
        left = budget - len(labels)
        if not left:
            return
        learn(images, labels)
        crafted = quantise(craft(images, labels, left)[:left])
        sent = ask(victim, crafted, synthetic=True, round=number)
        images = np.concatenate([images, sent.images])
        labels = np.concatenate([labels, sent.answers.labels])
        yield sent
