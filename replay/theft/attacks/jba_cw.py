"""JBA-CW-l2: the smallest changes toward the likeliest classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Floats, Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.jba_pgd import EPOCHS, TARGETS
from gamekeeper.replay.theft.craft import augment, carlini, likeliest
from gamekeeper.replay.theft.model import Classifier

STEPS = 150
SEARCHES = 5
"""Steps of a search and searches for the weight (Zhang and Wagner, section IV-A 2)."""


def jba_cw(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    k: int = TARGETS,
    steps: int = STEPS,
    searches: int = SEARCHES,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with JBA-CW-l2 (Zhang and Wagner, sections III-A and IV-A).

    As JBA-PGD, but the images are moved by Carlini and Wagner's attack: no further than to the
    substitute's border with the target class.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: decides initial weights and training order.
        k: target classes per image.
        steps: Adam's steps per search; the time that the attack takes grows with them.
        searches: searches for the weight of each image's class loss.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """

    def craft(model: Classifier, images: Images, labels: Labels, wanted: int) -> Floats:
        aims = likeliest(model, images, labels, k, wanted)
        return carlini(model, aims.images, aims.targets, steps=steps, searches=searches)

    return augment(oracle, start, budget, rng, craft, epochs=epochs, fresh=True)
