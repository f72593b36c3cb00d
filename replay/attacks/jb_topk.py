"""JB-topk: projected gradient descent toward the classes that lie closest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.attacks.base import Floats, Images, Labels, Sent, Victim, duplicate
from gamekeeper.replay.attacks.network import Classifier, steps_toward

REACH = 64.0
"""The bound of the perturbation. The value of PRADA version 1 is lost in its text; this is the
64/255 of version 2, section IV-A."""
STEPS = 40
"""Iterations of PGD (PRADA version 1, section 3.1)."""
STEP = 2.5 * REACH / STEPS
"""Madry et al.'s rule: far enough to reach the bound from any start and to move along it."""
EPOCHS = 50
"""Epochs per round; version 1 takes 200, with the same queries in kind."""


def jb_topk(
    victim: Victim,
    seeds: Images,
    budget: int,
    rng: np.random.Generator,
    *,
    classes: int = 10,
    k: int = 3,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with JB-topk (PRADA version 1, section 3.1).

    Each round moves every image labelled so far toward the `k` classes that the substitute finds
    most likely after the image's own; the number of images grows by a factor of `k + 1`.

    Args:
        victim: the model that is stolen.
        seeds: `(n, h, w)` natural images, the same number of each class.
        budget: the number of queries, seeds included.
        rng: decides initial weights and training order.
        classes: the number of the victim's classes.
        k: target classes per image, below `classes`.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """
    model = Classifier(seeds.shape[1:], classes, int(rng.integers(2**31)))

    def craft(images: Images, labels: Labels, left: int) -> Floats:
        bases = -(-left // k)
        images, labels = images[:bases], labels[:bases]
        likely = model(images).probabilities.copy()
        likely[np.arange(len(labels)), labels] = -1.0
        nearest = np.argsort(-likely, axis=1, kind="stable")[:, :k]
        return steps_toward(
            model,
            images.repeat(k, axis=0),
            nearest.reshape(-1),
            reach=REACH,
            step=STEP,
            steps=STEPS,
        )

    def learn(images: Images, labels: Labels) -> None:
        model.fit(images, labels, epochs)

    return duplicate(victim, seeds, budget, learn, craft)
