"""T-RND-64: iterative FGSM toward random other classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.attacks.base import Floats, Images, Labels, Sent, Victim, duplicate
from gamekeeper.replay.attacks.network import Classifier, steps_toward

REACH = 64.0
"""The step size lambda on MNIST, 64/255 (PRADA version 2, section IV-E)."""
STEPS = 11
"""Steps of the iterative algorithms (ibid., section IV-B)."""
EPOCHS = 50
"""Epochs per round, within the 10 to 320 that the paper searches (ibid., section III-A)."""


def t_rnd(
    victim: Victim,
    seeds: Images,
    budget: int,
    rng: np.random.Generator,
    *,
    classes: int = 10,
    targets: int = 3,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with T-RND I-FGSM (PRADA version 2, sections III-C and IV-D).

    Each round moves every image labelled so far toward `targets` random classes other than its
    own; with 3, the number of images grows fourfold, the paper's expansion factor k = 4. The
    paper's cross-validated search for hyperparameters is left out: it asks the victim nothing.

    Args:
        victim: the model that is stolen.
        seeds: `(n, h, w)` natural images, the same number of each class.
        budget: the number of queries, seeds included.
        rng: decides initial weights, training order and target classes.
        classes: the number of the victim's classes.
        targets: new images per labelled image and round, below `classes`.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """
    model = Classifier(seeds.shape[1:], classes, int(rng.integers(2**31)))

    def craft(images: Images, labels: Labels, left: int) -> Floats:
        bases = -(-left // targets)
        images, labels = images[:bases], labels[:bases]
        order = rng.permuted(np.tile(np.arange(classes), (len(labels), 1)), axis=1)
        others = order[order != labels[:, None]].reshape(len(labels), classes - 1)
        return steps_toward(
            model,
            images.repeat(targets, axis=0),
            others[:, :targets].reshape(-1),
            reach=REACH,
            step=REACH / STEPS,
            steps=STEPS,
        )

    def learn(images: Images, labels: Labels) -> None:
        model.fit(images, labels, epochs)

    return duplicate(victim, seeds, budget, learn, craft)
