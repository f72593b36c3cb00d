"""Other pen: what was drawn thin is bold, and the other way round."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from gamekeeper.replay.honest.base import Inputs, Own


def other_pen(own: Own, queries: int, rng: np.random.Generator, *, bold: bool = True) -> Inputs:
    """Send own images with `bold` or thin light lines: grey dilation or erosion by a pixel."""
    images = own.inputs[:queries]
    size = (1, 2, 2, *[1] * (images.ndim - 3))
    change = ndimage.grey_dilation if bold else ndimage.grey_erosion
    changed: Inputs = change(images, size=size)
    return changed
