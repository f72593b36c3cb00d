"""Images of a data set as public interfaces take them: uint8, channels last."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gamekeeper.schemas.errors import TraceError

LEAST: Final = 4
"""Pixels of a side at least: classifiers halve it twice."""
_CHANNELS: Final = (1, 3)
_SLACK: Final = 1e-3  # of a pixel value: what float32 leaves of x / 255 * 255


def pixels(inputs: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring `(n, *shape)` inputs to `(n, h, w)` or `(n, h, w, c)` uint8, where that is exact.

    Real numbers may be 0..1 in steps of 1/255, whole numbers 0..255; channels may come first.
    Raises `TraceError` on anything else.
    """
    return np.ascontiguousarray(_last(_bytes(inputs)))


def _bytes(inputs: NDArray[Any]) -> NDArray[np.uint8]:
    if inputs.dtype == np.uint8:
        return inputs
    values = inputs.astype(np.float64)
    if inputs.dtype.kind in "bf" and values.max() <= 1.0:
        values *= 255.0
    whole = np.rint(values)
    if values.min() < 0 or values.max() > 255 or np.abs(values - whole).max() > _SLACK:
        raise TraceError(
            f"images of {inputs.dtype.name}, {inputs.min():g} to {inputs.max():g}, are not those "
            "of a public interface; give whole numbers 0..255, or 0..1 in steps of 1/255"
        )
    return whole.astype(np.uint8)


def _last(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring the channels to the end; one channel that came first is left out."""
    shape = images.shape[1:]
    if len(shape) == 3 and shape[2] not in _CHANNELS and shape[0] in _CHANNELS:
        images = images[:, 0] if shape[0] == 1 else images.transpose(0, 2, 3, 1)
        shape = images.shape[1:]
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in _CHANNELS)):
        raise TraceError(
            f"rows of shape {shape} are no images; give height x width, grey or with three colours"
        )
    if min(shape[:2]) < LEAST:
        raise TraceError(f"images of {shape[0]}x{shape[1]} pixels; give {LEAST} or more a side")
    return images
