"""Who is in and who is out: samples of KernelSHAP."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def coalitions(samples: int, players: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw `(samples, players)` coalitions, neither empty nor whole where there are two players.

    Lundberg and Lee, "A unified approach to interpreting model predictions", theorem 2: sizes s
    have weight (M - 1) / (s (M - s)), whoever is in it is random; every other sample is the
    complement of the one before, as in the authors' program.
    """
    if players < 2:
        return np.ones((samples, players), np.bool_)
    sizes = np.arange(1, players)
    weight = 1.0 / (sizes * (players - sizes))
    half = -(-samples // 2)
    size = rng.choice(sizes, half, p=weight / weight.sum())
    order = rng.permuted(np.tile(np.arange(players), (half, 1)), axis=1)
    drawn = order < size[:, None]
    return np.stack([drawn, ~drawn], axis=1).reshape(2 * half, players)[:samples]
