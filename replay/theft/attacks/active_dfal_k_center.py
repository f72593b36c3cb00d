"""ActiveThief's DFAL+k-center strategy: near a border, and unlike each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Images, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.active_dfal import CANDIDATES, nearest_to_border
from gamekeeper.replay.theft.attacks.active_k_center import farthest
from gamekeeper.replay.theft.attacks.active_thief import EPOCHS, active_thief
from gamekeeper.replay.theft.model import Classifier

KEPT = 2
"""Images that DFAL leaves to k-center for each one chosen. Zhang and Wagner call their number N and
do not say it; two gives both strategies a choice."""


def active_dfal_k_center(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    epochs: int = EPOCHS,
    candidates: int = CANDIDATES,
) -> Iterator[Sent]:
    """Steal with ActiveThief's DFAL+k-center (Zhang and Wagner, section III-C).

    Each round takes the images nearest to a border of the substitute, as DFAL does, and asks for
    those of them that k-center chooses.

    Args:
        oracle: the way to the model that is stolen.
        start: only its pool is used.
        budget: the number of queries; fewer where the pool has fewer images.
        rng: decides the first images, initial weights, training order and the candidates.
        epochs: training epochs per round.
        candidates: random images of the pool that DFAL tries for each one chosen.

    Yields:
        The queries of each round, a part at a time.
    """

    def choose(model: Classifier, pool: Images, labelled: Images, k: int) -> NDArray[np.int64]:
        near = nearest_to_border(model, pool, k * KEPT, k * candidates, rng)
        return near[farthest(model, pool[near], labelled, k)]

    return active_thief(oracle, start, budget, rng, epochs, choose)
