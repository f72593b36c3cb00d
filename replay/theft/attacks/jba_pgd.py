"""JBA-PGD: projected gradient descent toward the likeliest classes, in a small reach."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Floats, Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.craft import Aims, augment, likeliest, signed_steps
from gamekeeper.replay.theft.model import Classifier

TARGETS = 3
"""Target classes per image (Zhang and Wagner, section IV-A 2)."""
REACH = 7.96875
"""The bound of the perturbation, 8/256 of 255 (ibid.)."""
STEPS = 40
STEP = 0.01 / 0.3
"""Foolbox's defaults for PGD, which the paper takes: steps, and their size as a share of reach."""
EPOCHS = 50
"""Epochs per round; the paper does not say, this is what JB-topk has."""


def jba_pgd(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    k: int = TARGETS,
    reach: float = REACH,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with JBA-PGD (Zhang and Wagner, sections III-A and IV-A).

    Each round initialises the substitute anew, trains it, and moves every image labelled so far
    toward the `k` classes that it finds likeliest after the image's own, from a random point near
    the image; the number of images grows by a factor of `k + 1`.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: decides initial weights, training order and where the steps begin.
        k: target classes per image.
        reach: the bound of the perturbation, in pixel values.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """

    def craft(model: Classifier, images: Images, labels: Labels, wanted: int) -> Floats:
        return descend(model, likeliest(model, images, labels, k, wanted), reach, rng)

    return augment(oracle, start, budget, rng, craft, epochs=epochs, fresh=True)


def descend(model: Classifier, aims: Aims, reach: float, rng: np.random.Generator) -> Floats:
    """Move images toward their targets by projected gradient descent."""
    return signed_steps(
        model, aims.images, aims.targets, reach=reach, step=STEP * reach, steps=STEPS, scatter=rng
    )
