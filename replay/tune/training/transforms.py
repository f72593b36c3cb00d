"""The slight transformations that make a query's positives: what an attacker might do to hide it.

For images these are the eight of Zhang and Wagner's Table X (section VII-A, after their [5]): crop,
brightness, scale, rotation, contrast, uniform noise, Gaussian noise and translation. The paper
refers to [5] for their strengths; the largest ones here are the defaults published with [5]'s
encoder. Each image gets one transformation, of a strength between none and the largest.

The paper has images only. A vector gets Gaussian noise and loses a few columns to their mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

Transform = Callable[[Tensor, Tensor], Tensor]
"""Maps images `(n, c, h, w)` of 0 to 1 and strengths `(n,)` of -1 to 1 to such images."""

_COLUMNS_NOISE = 0.1  # of a column's standard deviation
_COLUMNS_LOST = 0.1


def _crop(images: Tensor, strengths: Tensor) -> Tensor:
    """Cut up to 4 % off each side and enlarge the rest, off centre where it can be."""
    cut = 0.04 * strengths.abs()
    shift = cut[:, None] * (2 * torch.rand(len(images), 2, device=images.device) - 1)
    return _warped(images, torch.zeros_like(cut), 1 - cut, shift)


def _brightness(images: Tensor, strengths: Tensor) -> Tensor:
    return images + 0.09 * _wide(strengths)


def _scale(images: Tensor, strengths: Tensor) -> Tensor:
    """Multiply pixels by 0.83 to 1.17."""
    return images * (1 + 0.17 * _wide(strengths))


def _rotate(images: Tensor, strengths: Tensor) -> Tensor:
    """Turn by up to 0.018 of a half turn, 3.2 degrees."""
    still = torch.zeros(len(images), 2, device=images.device)
    angles = 0.018 * math.pi * strengths
    return _warped(images, angles, torch.ones_like(angles), still)


def _contrast(images: Tensor, strengths: Tensor) -> Tensor:
    """Stretch or squeeze by up to 55 % around each channel's mean."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + (images - mean) * (1 + 0.55 * _wide(strengths))


def _uniform(images: Tensor, strengths: Tensor) -> Tensor:
    return images + 0.064 * _wide(strengths) * (2 * torch.rand_like(images) - 1)


def _gaussian(images: Tensor, strengths: Tensor) -> Tensor:
    return images + 0.095 * _wide(strengths) * torch.randn_like(images)


def _translate(images: Tensor, strengths: Tensor) -> Tensor:
    """Move by up to 0.45 pixels in any direction."""
    angles = 2 * math.pi * torch.rand(len(images), device=images.device)
    height, width = images.shape[2:]
    # The grid's coordinates span two units over each side.
    reach = 0.9 * strengths / torch.tensor([[width], [height]], device=images.device)
    shift = torch.stack([angles.cos(), angles.sin()]) * reach
    return _warped(images, torch.zeros_like(angles), torch.ones_like(angles), shift.T)


TRANSFORMS: Final[Mapping[str, Transform]] = {
    "crop": _crop,
    "brightness": _brightness,
    "scale": _scale,
    "rotate": _rotate,
    "contrast": _contrast,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "translate": _translate,
}
"""The paper's transformations by the names of its Table X."""


def transformed(images: Tensor, name: str) -> Tensor:
    """Apply one transformation to `(n, c, h, w)` images of 0 to 1, each with a strength drawn."""
    strengths = 2 * torch.rand(len(images), device=images.device) - 1
    return TRANSFORMS[name](images, strengths).clamp(0, 1)


def image_positives(images: Tensor) -> Tensor:
    """Give each of `(n, c, h, w)` images of 0 to 1 one transformation, from torch's generator."""
    names = list(TRANSFORMS)
    chosen = torch.randint(len(names), (len(images),)).to(images.device)
    positives = images.clone()
    for number, name in enumerate(names):
        rows = (chosen == number).nonzero()[:, 0]
        if len(rows):
            positives[rows] = transformed(images[rows], name)
    return positives


def vector_positives(vectors: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Disturb `(n, d)` vectors slightly, in units of their columns' `std` `(d,)`.

    Gaussian noise of up to 0.1 standard deviations; each column is lost to its `mean` with
    probability 0.1.
    """
    strengths = torch.rand(len(vectors), 1, device=vectors.device)
    noisy = vectors + _COLUMNS_NOISE * strengths * std * torch.randn_like(vectors)
    return torch.where(torch.rand_like(vectors) < _COLUMNS_LOST, mean, noisy)


def _wide(strengths: Tensor) -> Tensor:
    return strengths[:, None, None, None]


def _warped(images: Tensor, angles: Tensor, zooms: Tensor, shifts: Tensor) -> Tensor:
    """Look at images `(n, c, h, w)` turned, enlarged and moved, `shifts` `(n, 2)` in half sides.

    Bilinear; beyond the border the border's pixels go on.
    """
    height, width = images.shape[2:]
    cos, sin = zooms * angles.cos(), zooms * angles.sin()
    # The grid has sides of length two, whatever the pixels; turning must not shear.
    rows = [
        torch.stack([cos, -sin * height / width, shifts[:, 0]], 1),
        torch.stack([sin * width / height, cos, shifts[:, 1]], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
