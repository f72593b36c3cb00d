"""What happens to images before they are sent: they are moved, turned, lit, blurred, compressed.

All take and give `(n, h, w)` or `(n, h, w, c)` images in uint8, and change each by its own amount
where the amount is `(n,)`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gamekeeper.replay.theft import Images, quantise

Amounts = NDArray[np.float64]
SIDES: Final = (0, 1)
"""An image's axes of height and width."""


def moved(images: Images, down: Amounts, right: Amounts) -> Images:
    """Move by parts of pixels; what comes in continues the border."""
    return _each(
        images,
        lambda image, i: ndimage.shift(
            image, _spatial(image, down[i], right[i]), order=1, mode="nearest"
        ),
    )


def turned(images: Images, degrees: Amounts) -> Images:
    """Turn around the middle."""
    return _each(
        images,
        lambda image, i: ndimage.rotate(
            image, float(degrees[i]), SIDES, reshape=False, order=1, mode="nearest"
        ),
    )


def cropped(images: Images, top: Amounts, left: Amounts, size: Amounts) -> Images:
    """Cut out a part, by shares of the sides, and enlarge it to the whole."""

    def cut(image: NDArray[Any], i: int) -> NDArray[Any]:
        height, width = image.shape[:2]
        matrix = np.diag([size[i], size[i], *[1.0] * (image.ndim - 2)])
        begin = _spatial(image, top[i] * height, left[i] * width)
        return ndimage.affine_transform(image, matrix, begin, order=1, mode="nearest")

    return _each(images, cut)


def warped(images: Images, places: Amounts) -> Images:
    """Take each pixel from another place: `places` `(n, 2, h, w)` are rows and columns there.

    Places between pixels and outside are read as `moved` reads them.
    """

    def taken(image: NDArray[Any], i: int) -> NDArray[Any]:
        channels = np.moveaxis(np.atleast_3d(image), 2, 0)
        read = [ndimage.map_coordinates(c, places[i], order=1, mode="nearest") for c in channels]
        return np.stack(read, axis=-1).reshape(image.shape)

    return _each(images, taken)


def lit(images: Images, gain: Amounts, more: Amounts) -> Images:
    """Multiply the light, and add to it."""
    return _each(images, lambda image, i: image * gain[i] + more[i])


def blurred(images: Images, pixels: Amounts) -> Images:
    """Blur by Gaussians of so many pixels."""
    return _each(
        images,
        lambda image, i: ndimage.gaussian_filter(image, _spatial(image, pixels[i], pixels[i])),
    )


def noisy(images: Images, deviation: float, rng: np.random.Generator) -> Images:
    """Add a sensor's noise, in units of a pixel's value."""
    return quantise(images + rng.normal(0.0, deviation, images.shape))


def compressed(images: Images, quality: int) -> Images:
    """Store as JPEG, and read again."""

    def stored(image: NDArray[Any], _: int) -> NDArray[Any]:
        single = image.shape[-1] == 1 and image.ndim == 3
        pixels = Image.fromarray(np.uint8(image[..., 0] if single else image))
        with io.BytesIO() as file:
            pixels.save(file, "JPEG", quality=quality)
            return np.asarray(Image.open(file)).reshape(image.shape)

    return _each(images, stored)


def _each(images: Images, change: Callable[[NDArray[Any], int], NDArray[Any]]) -> Images:
    """Change image by image, in real numbers."""
    if not len(images):
        return images
    pixels = images.astype(np.float64)
    return np.stack([quantise(change(image, i)) for i, image in enumerate(pixels)])


def _spatial(image: NDArray[Any], down: float, right: float) -> list[float]:
    """Give an amount for each of the image's axes: none for its colours."""
    return [float(down), float(right), *[0.0] * (image.ndim - 2)]
