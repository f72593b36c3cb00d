"""Variants of images as data augmentation makes them: turned, zoomed, shifted and bent at random.

Elastic bending is Simard et al.'s (2003, section 2): random fields, smoothed, say where each pixel
is taken from. The amounts are about those that Ciresan et al. (2010) train on digits with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gamekeeper.replay.theft import Images, lens

TURN = float(np.deg2rad(15.0))
"""The largest turn, to either side."""
ZOOM, SHIFT = 0.15, 0.1
"""The largest zoom and shift, as shares of an image's sides."""
BEND, SMOOTH = 0.04, 4 / 28
"""How far bending moves a pixel (root of the mean square), and over what distance neighbours move
alike, as shares of the sides; Simard et al.'s alpha of 34 and sigma of 4 are 0.05 and 4 of 28."""

Places = NDArray[np.float64]
"""`(n, 2, h, w)` rows and columns of pixels."""


def variants(images: Images, strength: float, rng: np.random.Generator) -> Images:
    """Make one variant of each image; at a `strength` of 1 by the amounts above, at 0 a copy."""
    count, height, width = images.shape[:3]
    sides = np.array([height, width]).reshape(1, 2, 1, 1)
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
    middle = (sides - 1) / 2
    shift = strength * SHIFT * sides * rng.uniform(-1.0, 1.0, (count, 2, 1, 1))
    seen = np.einsum("nij,jhw->nihw", _turns(count, strength, rng), (grid - middle)[0])
    bends = strength * BEND * sides * _fields((count, 2, height, width), rng)
    return lens.warped(images, middle + seen + shift + bends)


def _turns(count: int, strength: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw `(n, 2, 2)` matrices that turn and zoom."""
    angle = strength * TURN * rng.uniform(-1.0, 1.0, count)
    zoom = 1.0 + strength * ZOOM * rng.uniform(-1.0, 1.0, count)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.moveaxis(turn * zoom, 2, 0)


def _fields(shape: tuple[int, ...], rng: np.random.Generator) -> Places:
    """Draw smooth random fields whose mean square is 1."""
    reach = [0.0, 0.0, *(SMOOTH * side for side in shape[2:])]
    fields: Places = ndimage.gaussian_filter(rng.uniform(-1.0, 1.0, shape), reach)
    fields /= np.sqrt(np.square(fields).mean(axis=(2, 3), keepdims=True))
    return fields
