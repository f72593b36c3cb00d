"""Which images are moved next, and toward which classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gamekeeper.replay.theft import Images, Labels
from gamekeeper.replay.theft.model import Classifier


class Aims(NamedTuple):
    """Images with their `own` `(n,)` classes and the `(n,)` classes to move them toward.

    An image stands there once for each of its targets.
    """

    images: Images
    own: Labels
    targets: Labels


def likeliest(model: Classifier, images: Images, labels: Labels, k: int, wanted: int) -> Aims:
    """Aim each image at the `k` classes that the substitute finds likeliest after its own.

    Takes only as many of the images as make `wanted` new ones; where there are fewer other classes
    than `k`, all of them are targets.
    """
    k = min(k, model.classes - 1)
    bases = -(-wanted // k)
    images, labels = images[:bases], labels[:bases]
    likely = model(images).probabilities.copy()
    likely[np.arange(len(labels)), labels] = -1.0
    return _repeat(images, labels, np.argsort(-likely, axis=1, kind="stable")[:, :k])


def random_others(
    rng: np.random.Generator, classes: int, images: Images, labels: Labels, k: int, wanted: int
) -> Aims:
    """Aim each image at `k` random classes other than its own; else as `likeliest`."""
    k = min(k, classes - 1)
    bases = -(-wanted // k)
    images, labels = images[:bases], labels[:bases]
    order = rng.permuted(np.tile(np.arange(classes), (len(labels), 1)), axis=1)
    others = order[order != labels[:, None]].reshape(len(labels), classes - 1)
    return _repeat(images, labels, others[:, :k])


def _repeat(images: Images, labels: Labels, targets: Labels) -> Aims:
    k = targets.shape[1]
    return Aims(images.repeat(k, axis=0), labels.repeat(k), targets.reshape(-1))
