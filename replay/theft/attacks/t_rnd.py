"""T-RND: FGSM, iterated or not, toward random other classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Floats, Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.craft import augment, random_others, signed_steps
from gamekeeper.replay.theft.model import Classifier

STEP = 64.0
"""The step size lambda of T-RND-64, 64/255 (PRADA version 2, section IV-E)."""
STEPS = 11
"""Steps of the iterative algorithms (ibid., section IV-B)."""
EPOCHS = 50
"""Epochs per round, within the 10 to 320 that the paper searches (ibid., section III-A)."""


def t_rnd(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    targets: int = 3,
    step: float = STEP,
    steps: int = STEPS,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with T-RND FGSM or I-FGSM (PRADA version 2, sections III-C 1 and IV-D).

    Each round moves every image labelled so far toward `targets` random classes other than its
    own; with 3, the number of images grows fourfold, the paper's expansion factor k = 4. The
    paper's cross-validated search for hyperparameters is left out: it asks the victim nothing.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: decides initial weights, training order and target classes.
        targets: new images per labelled image and round.
        step: the step size lambda, in pixel values; section IV-D has 25.5.
        steps: parts that the step is divided into; 1 is FGSM.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """

    def craft(model: Classifier, images: Images, labels: Labels, wanted: int) -> Floats:
        aims = random_others(rng, start.classes, images, labels, targets, wanted)
        return signed_steps(
            model, aims.images, aims.targets, reach=step, step=step / steps, steps=steps
        )

    return augment(oracle, start, budget, rng, craft, epochs=epochs)
