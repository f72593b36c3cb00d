"""ActiveThief's uncertainty strategy: the images whose class the substitute knows least."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import entropy

from gamekeeper.replay.theft import Images, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.active_thief import EPOCHS, active_thief
from gamekeeper.replay.theft.model import Classifier


def active_uncertainty(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with ActiveThief's uncertainty (Zhang and Wagner, section III-C, eq. (5)).

    Each round asks for the images of the pool whose probabilities, as the substitute sees them,
    have the highest entropy.

    Args:
        oracle: the way to the model that is stolen.
        start: only its pool is used.
        budget: the number of queries; fewer where the pool has fewer images.
        rng: decides the first images, initial weights and training order.
        epochs: training epochs per round.

    Yields:
        The queries of each round, a part at a time.
    """
    return active_thief(oracle, start, budget, rng, epochs, least_certain)


def least_certain(model: Classifier, pool: Images, labelled: Images, k: int) -> NDArray[np.int64]:
    """Choose the `k` rows of highest entropy, the highest first."""
    rows: NDArray[np.int64] = np.argsort(
        -entropy(model(pool).probabilities, axis=1), kind="stable"
    )[:k]
    return rows
