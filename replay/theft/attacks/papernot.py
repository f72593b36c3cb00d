"""Papernot's attack: Jacobian-based dataset augmentation with one FGSM step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.craft import augment
from gamekeeper.replay.theft.model import Classifier

STEP = 25.5
"""The step size lambda, 25.5/255 (PRADA version 2, section II-F)."""
EPOCHS = 10
"""Epochs of training per duplication round (ibid.)."""


def papernot(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    reservoir: int = 400,
) -> Iterator[Sent]:
    """Steal with JbDA and reservoir sampling (PRADA version 2, section II-F 2).

    Each round adds `x + lambda * sign(grad L(F'(x), c))` for every image labelled so far, which
    doubles their number; from the moment a round would make more than `reservoir` images, a random
    choice of that many is sent and the others are thrown away (reservoir sampling).

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: decides initial weights, training order and the reservoir's choice.
        reservoir: new queries per round at most.

    Yields:
        The queries of each round.
    """

    def craft(model: Classifier, images: Images, labels: Labels, wanted: int) -> NDArray[Any]:
        size = min(len(images), reservoir, wanted)
        rows = np.sort(rng.choice(len(images), size, replace=False))
        pixels = images[rows].astype(np.float32)
        return pixels + STEP * np.sign(model.gradient(pixels, labels[rows]))

    return augment(oracle, start, budget, rng, craft, epochs=EPOCHS, optimiser="sgd")
