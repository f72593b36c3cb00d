"""ActiveThief's k-center strategy: the images least like those asked before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from gamekeeper.replay.theft import Images, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.active_thief import EPOCHS, active_thief
from gamekeeper.replay.theft.model import Classifier


def active_k_center(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with ActiveThief's k-center (Zhang and Wagner, section III-C).

    Each round asks for the images of the pool that lie farthest from all images asked before, by
    the Euclidean distance of the probabilities that the substitute gives them (the greedy
    algorithm of Sener and Savarese 2018).

    Args:
        oracle: the way to the model that is stolen.
        start: only its pool is used.
        budget: the number of queries; fewer where the pool has fewer images.
        rng: decides the first images, initial weights and training order.
        epochs: training epochs per round.

    Yields:
        The queries of each round, a part at a time.
    """
    return active_thief(oracle, start, budget, rng, epochs, farthest)


def farthest(model: Classifier, pool: Images, labelled: Images, k: int) -> NDArray[np.int64]:
    """Choose `k` rows greedily: each one farthest from its nearest center, and then a center."""
    points, centers = model(pool).probabilities, model(labelled).probabilities
    nearest = np.asarray(KDTree(centers).query(points)[0])
    rows = np.empty(k, np.int64)
    for at in range(k):
        rows[at] = nearest.argmax()
        nearest = np.minimum(nearest, cdist(points, points[[rows[at]]])[:, 0])
        nearest[rows[at]] = -np.inf  # chosen once, however many lie on the same point
    return rows
