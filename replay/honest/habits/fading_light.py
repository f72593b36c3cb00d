"""Fading light: from morning to evening, or as a lamp grows old."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.theft import lens


def fading_light(own: Own, queries: int, rng: np.random.Generator, *, left: float = 0.5) -> Inputs:
    """Send own images in light that falls evenly to what is `left` of it."""
    gain = np.linspace(1.0, left, queries)
    return lens.lit(own.inputs[:queries], gain, np.zeros(queries))
