"""JB-self: projected gradient descent toward the image's own class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Floats, Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.jb_topk import EPOCHS, REACH, STEP, STEPS
from gamekeeper.replay.theft.craft import augment, signed_steps
from gamekeeper.replay.theft.model import Classifier


def jb_self(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with JB-self (PRADA version 1, section 3.1).

    Each round moves every image labelled so far toward its own class, to find the classes'
    centres rather than their borders; the number of images doubles.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: decides initial weights and training order.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """

    def craft(model: Classifier, images: Images, labels: Labels, wanted: int) -> Floats:
        return signed_steps(
            model, images[:wanted], labels[:wanted], reach=REACH, step=STEP, steps=STEPS
        )

    return augment(oracle, start, budget, rng, craft, epochs=epochs)
