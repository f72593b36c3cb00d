"""Papernot's attack: Jacobian-based dataset augmentation with one FGSM step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.attacks.base import Images, Labels, Sent, Victim, duplicate
from gamekeeper.replay.attacks.network import Classifier

STEP = 25.5
"""The step size lambda, 25.5/255 (PRADA version 2, section II-F)."""
EPOCHS = 10
"""Epochs of training per duplication round (ibid.)."""


def papernot(
    victim: Victim,
    seeds: Images,
    budget: int,
    rng: np.random.Generator,
    *,
    classes: int = 10,
    reservoir: int = 400,
) -> Iterator[Sent]:
    """Steal with JbDA and reservoir sampling (PRADA version 2, section II-F 2).

    Each round adds `x + lambda * sign(grad L(F'(x), c))` for every image labelled so far, which
    doubles their number; from the moment a round would make more than `reservoir` images, a random
    choice of that many is sent and the others are thrown away (reservoir sampling).

    Args:
        victim: the model that is stolen.
        seeds: `(n, h, w)` natural images, the same number of each class.
        budget: the number of queries, seeds included.
        rng: decides initial weights, training order and the reservoir's choice.
        classes: the number of the victim's classes.
        reservoir: new queries per round at most.

    Yields:
        The queries of each round.
    """
    model = Classifier(seeds.shape[1:], classes, int(rng.integers(2**31)), optimiser="sgd")

    def craft(images: Images, labels: Labels, left: int) -> NDArray[Any]:
        size = min(len(images), reservoir, left)
        rows = np.sort(rng.choice(len(images), size, replace=False))
        pixels = images[rows].astype(np.float32)
        return pixels + STEP * np.sign(model.gradient(pixels, labels[rows]))

    def learn(images: Images, labels: Labels) -> None:
        model.fit(images, labels, EPOCHS)

    return duplicate(victim, seeds, budget, learn, craft)
