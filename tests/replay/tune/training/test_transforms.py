"""The transformations that make positives: slight, within the range, each to its own row."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.datasets import load_digits
from torch import Tensor

from gamekeeper.replay.tune.training.transforms import (
    TRANSFORMS,
    image_positives,
    transformed,
    vector_positives,
)

PAPERS = ["crop", "brightness", "scale", "rotate", "contrast", "uniform", "gaussian", "translate"]


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """Digits as two-channel images that are wider than high, 0 to 1."""
    images = torch.tensor(load_digits().images[:60] / 16, dtype=torch.float32)
    return torch.stack([images[:, :, :], images.flip(2)], 1)[:, :, 1:]


def test_they_are_the_papers() -> None:
    """Table X of the paper names eight; the auto-encoder is an attack of its own."""
    assert list(TRANSFORMS) == PAPERS


@pytest.mark.parametrize("name", PAPERS)
def test_no_strength_changes_nothing(name: str, digits: Tensor) -> None:
    """At strength zero each transformation gives the images back."""
    same = TRANSFORMS[name](digits, torch.zeros(len(digits)))
    torch.testing.assert_close(same, digits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PAPERS)
def test_full_strength_changes_slightly(name: str, digits: Tensor) -> None:
    """At full strength all images change, but nearly all remain nearest to where they come from."""
    torch.manual_seed(0)
    changed = TRANSFORMS[name](digits, torch.ones(len(digits)))
    assert (changed - digits).square().mean((1, 2, 3)).min() > 0.004**2
    distances = torch.cdist(changed.flatten(1), digits.flatten(1))
    # On images this small, half a pixel is much.
    assert (distances.argmin(1) == torch.arange(len(digits))).float().mean() > 0.95


@pytest.mark.parametrize("name", PAPERS)
def test_results_stay_in_range(name: str, digits: Tensor) -> None:
    """Pixels stay within 0 to 1, whatever is drawn."""
    torch.manual_seed(0)
    changed = transformed(digits, name)
    assert changed.shape == digits.shape
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_turning_does_not_shear(digits: Tensor) -> None:
    """A turned image is what scipy turns, although the image is wider than high."""
    turned = TRANSFORMS["rotate"](digits, torch.ones(len(digits))).numpy()
    for image, theirs in zip(turned[:5, 0], digits[:5, 0].numpy(), strict=True):
        rotated = ndimage.rotate(theirs, 0.018 * 180, reshape=False, order=1, mode="nearest")
        back = ndimage.rotate(theirs, -0.018 * 180, reshape=False, order=1, mode="nearest")
        error = min(np.abs(image - rotated).max(), np.abs(image - back).max())
        assert error < 1e-4


def test_moving_is_by_pixels(digits: Tensor) -> None:
    """A moved image is what scipy moves, by 0.45 pixels in the direction that was drawn."""
    torch.manual_seed(3)
    moved = TRANSFORMS["translate"](digits, torch.ones(len(digits))).numpy()
    torch.manual_seed(3)
    angles = (2 * math.pi * torch.rand(len(digits))).numpy()
    for image, theirs, angle in zip(moved, digits.numpy(), angles, strict=True):
        shift = (-0.45 * math.sin(angle), -0.45 * math.cos(angle))
        expected = ndimage.shift(theirs[0], shift, order=1, mode="nearest")
        assert np.abs(image[0] - expected).max() < 1e-4


def test_each_image_gets_a_transformation_of_its_own(digits: Tensor) -> None:
    """Equal images become different positives, and only by their own content."""
    torch.manual_seed(0)
    positives = image_positives(digits[:1].expand(64, -1, -1, -1))
    assert len({row.numpy().tobytes() for row in positives}) > 60
    assert (positives - digits[:1]).square().mean((1, 2, 3)).sqrt().max() < 0.25


def test_vectors_are_disturbed_in_units_of_their_columns() -> None:
    """Noise follows each column's scale; about a tenth of the values become the column's mean."""
    torch.manual_seed(0)
    mean, std = torch.tensor([0.0, 50.0]), torch.tensor([1.0, 1000.0])
    vectors = mean + std * torch.randn(4000, 2)
    positives = vector_positives(vectors, mean, std)
    lost = positives == mean
    assert lost.float().mean(0).tolist() == pytest.approx([0.1, 0.1], abs=0.03)
    away = ((positives - vectors) / std)[~lost.any(1)]
    assert away.std(0).tolist() == pytest.approx([0.1 / 3**0.5] * 2, rel=0.1)
