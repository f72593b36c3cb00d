"""Compressed: a line that is paid for by the byte."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.theft import lens


def compressed(own: Own, queries: int, rng: np.random.Generator, *, quality: int = 25) -> Inputs:
    """Send own images as JPEG of a low `quality` leaves them."""
    return lens.compressed(own.inputs[:queries], quality)
