"""N I-FGSM: iterative FGSM away from the image's own class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Floats, Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.t_rnd import EPOCHS, STEPS
from gamekeeper.replay.theft.craft import augment, signed_steps
from gamekeeper.replay.theft.model import Classifier

STEP = 25.5
"""The step size lambda, 25.5/255 (PRADA version 2, section IV-D)."""


def n_ifgsm(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    step: float = STEP,
    steps: int = STEPS,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with non-targeted I-FGSM (PRADA version 2, sections III-C 1 and IV-D).

    Each round moves every image labelled so far away from its own class; the number of images
    doubles, since there is only one such direction.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: decides initial weights and training order.
        step: the step size lambda, in pixel values.
        steps: parts that the step is divided into; 1 is FGSM.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """

    def craft(model: Classifier, images: Images, labels: Labels, wanted: int) -> Floats:
        return signed_steps(
            model,
            images[:wanted],
            labels[:wanted],
            reach=step,
            step=step / steps,
            steps=steps,
            away=True,
        )

    return augment(oracle, start, budget, rng, craft, epochs=epochs)
