"""ActiveThief's DFAL strategy: the images that DeepFool moves least."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import WHITE, Floats, Images, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.active_thief import EPOCHS, active_thief
from gamekeeper.replay.theft.craft import deepfool
from gamekeeper.replay.theft.model import Classifier

CANDIDATES = 5
"""Images that DeepFool tries for each one chosen. The paper tries the whole pool; DeepFool takes
tens of milliseconds per image on a processor, so that a choice of five is the most that is
bearable there."""
ITERATIONS = 5
"""DeepFool's iterations. Its steps end upon the border and its walk only beyond it, so that more of
them are spent in place: against 20, distances change by less than 1 %."""


def active_dfal(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    epochs: int = EPOCHS,
    candidates: int = CANDIDATES,
) -> Iterator[Sent]:
    """Steal with ActiveThief's DFAL (Zhang and Wagner, section III-C).

    Each round asks for the images that lie nearest to a border of the substitute: those that
    DeepFool makes it misclassify by the least Euclidean distance (Ducoffe and Precioso 2018).

    Args:
        oracle: the way to the model that is stolen.
        start: only its pool is used.
        budget: the number of queries; fewer where the pool has fewer images.
        rng: decides the first images, initial weights, training order and the candidates.
        epochs: training epochs per round.
        candidates: random images of the pool that are tried for each one chosen.

    Yields:
        The queries of each round, a part at a time.
    """

    def choose(model: Classifier, pool: Images, labelled: Images, k: int) -> NDArray[np.int64]:
        return nearest_to_border(model, pool, k, k * candidates, rng)

    return active_thief(oracle, start, budget, rng, epochs, choose)


def nearest_to_border(
    model: Classifier, pool: Images, k: int, tried: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose the `k` rows, of `tried` random ones, that DeepFool moves least, nearest first."""
    rows = rng.permutation(len(pool))[: max(tried, k)]
    return rows[np.argsort(distances(model, pool[rows]), kind="stable")[:k]]


def distances(model: Classifier, images: Images) -> Floats:
    """Measure how far DeepFool moves `(n, ...)` images: `(n,)`, for pixels of 0..1."""
    pixels = images.astype(np.float32) / np.float32(WHITE)
    moves = (deepfool(model, pixels, ITERATIONS) - pixels).reshape(len(images), -1)
    result: Floats = np.linalg.norm(moves, axis=1)
    return result
