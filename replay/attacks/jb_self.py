"""JB-self: projected gradient descent toward the image's own class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.attacks.base import Floats, Images, Labels, Sent, Victim, duplicate
from gamekeeper.replay.attacks.jb_topk import EPOCHS, REACH, STEP, STEPS
from gamekeeper.replay.attacks.network import Classifier, steps_toward


def jb_self(
    victim: Victim,
    seeds: Images,
    budget: int,
    rng: np.random.Generator,
    *,
    classes: int = 10,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with JB-self (PRADA version 1, section 3.1).

    Each round moves every image labelled so far toward its own class, to find the classes'
    centres rather than their borders; the number of images doubles.

    Args:
        victim: the model that is stolen.
        seeds: `(n, h, w)` natural images, the same number of each class.
        budget: the number of queries, seeds included.
        rng: decides initial weights and training order.
        classes: the number of the victim's classes.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """
    model = Classifier(seeds.shape[1:], classes, int(rng.integers(2**31)))

    def craft(images: Images, labels: Labels, left: int) -> Floats:
        return steps_toward(
            model, images[:left], labels[:left], reach=REACH, step=STEP, steps=STEPS
        )

    def learn(images: Images, labels: Labels) -> None:
        model.fit(images, labels, epochs)

    return duplicate(victim, seeds, budget, learn, craft)
