"""Shifted: a device that cuts out a little too far to one side."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.theft import lens


def shifted(own: Own, queries: int, rng: np.random.Generator, *, pixels: float = 2.0) -> Inputs:
    """Send own images, all of them moved by so many `pixels` in one direction."""
    angle = rng.uniform(0, 2 * np.pi)
    down, right = pixels * np.sin(angle), pixels * np.cos(angle)
    return lens.moved(own.inputs[:queries], np.full(queries, down), np.full(queries, right))
