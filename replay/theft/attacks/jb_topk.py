"""JB-topk: projected gradient descent toward the classes that lie closest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Floats, Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.craft import augment, likeliest, signed_steps
from gamekeeper.replay.theft.model import Classifier

REACH = 64.0
"""The bound of the perturbation. The value of PRADA version 1 is lost in its text; this is the
64/255 of version 2, section IV-A."""
STEPS = 40
"""Iterations of PGD (PRADA version 1, section 3.1)."""
STEP = 4.0
"""2.5 * REACH / STEPS, Madry et al.'s rule: far enough to reach the bound from any start and to
move along it."""
EPOCHS = 50
"""Epochs per round; version 1 takes 200, with the same queries in kind."""


def jb_topk(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    k: int = 3,
    reach: float = REACH,
    step: float = STEP,
    steps: int = STEPS,
    epochs: int = EPOCHS,
    fresh: bool = False,
) -> Iterator[Sent]:
    """Steal with JB-topk (PRADA version 1, section 3.1).

    Each round moves every image labelled so far toward the `k` classes that the substitute finds
    most likely after the image's own; the number of images grows by a factor of `k + 1`.

    Zhang and Wagner's JB-top3 (section IV-A 2) is Orekondy et al.'s: eight small steps, by a
    substitute that each round initialises anew.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: decides initial weights and training order.
        k: target classes per image.
        reach: the bound of the perturbation, in pixel values.
        step: the size of a step, in pixel values.
        steps: the number of steps.
        epochs: training epochs per round.
        fresh: whether each round initialises the substitute anew.

    Yields:
        The queries of each round.
    """

    def craft(model: Classifier, images: Images, labels: Labels, wanted: int) -> Floats:
        aims = likeliest(model, images, labels, k, wanted)
        return signed_steps(model, aims.images, aims.targets, reach=reach, step=step, steps=steps)

    return augment(oracle, start, budget, rng, craft, epochs=epochs, fresh=fresh)
