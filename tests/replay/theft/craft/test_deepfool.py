"""DeepFool against the Adversarial Robustness Toolbox's."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from art.attacks.evasion import DeepFool

from gamekeeper.replay.theft import WHITE, Floats, Images, quantise
from gamekeeper.replay.theft.craft import deepfool
from gamekeeper.replay.theft.craft.deepfool import BATCH
from gamekeeper.replay.theft.model import Architecture, Classifier
from support.art_oracle import art_model
from support.natural_images import digits, victim


@functools.cache
def _signs() -> tuple[Classifier, Images]:
    """Return a model of 43 classes of colour images, and images that it has learnt."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (40, 12, 10, 3), dtype=np.uint8)
    model = Classifier(Architecture((12, 10, 3), 43), 1)
    model.fit(images, rng.integers(0, 43, 40), 20)
    return model, images


def _case(kind: str) -> tuple[Classifier, Images]:
    return _signs() if kind == "signs" else (victim(), digits()[0][-50:])


def _arts(model: Classifier, pixels: Floats, iterations: int) -> Floats:
    estimator = art_model(model)
    # ART's DeepFool multiplies its steps by the width of clip_values: they are right for 0..1 only.
    # For some of the classes only (nb_grads), it takes the differences of the wrong logits.
    estimator.set_params(preprocessing=(0.0, 1.0 / WHITE), clip_values=(0.0, 1.0))
    attack = DeepFool(
        estimator, max_iter=iterations, nb_grads=model.classes, batch_size=BATCH, verbose=False
    )
    moved: Floats = attack.generate(pixels)
    return moved


@pytest.mark.parametrize("kind", ["digits", "signs"])
@pytest.mark.parametrize("iterations", [1, 5])
def test_moves_are_arts(kind: str, iterations: int) -> None:
    """The same pixels once they are rounded, and the same order of images by how far they move.

    Before that, not to the last bit: ART divides pixels by 1/255 and sums norms by numpy, and each
    rounds its way. Pixels differ by up to 5e-7, which is half a thousandth of the shortest ways.
    """
    model, images = _case(kind)
    pixels = images.astype(np.float32) / np.float32(WHITE)
    ours, theirs = deepfool(model, pixels, iterations), _arts(model, pixels, iterations)
    np.testing.assert_array_equal(quantise(ours * WHITE), quantise(theirs * WHITE))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    mine, arts = (
        np.linalg.norm((moved - pixels).reshape(len(pixels), -1), axis=1)
        for moved in (ours, theirs)
    )
    np.testing.assert_allclose(mine, arts, rtol=2e-3)
    np.testing.assert_array_equal(np.argsort(mine), np.argsort(arts))


def test_the_way_ends_beyond_a_border() -> None:
    """Given the steps that it needs, an image is taken for another class, and is still one."""
    model, images = _case("digits")
    pixels = images.astype(np.float32) / np.float32(WHITE)
    moved = deepfool(model, pixels, 20)
    assert moved.min() >= 0
    assert moved.max() <= 1
    own, other = (model(each * np.float32(WHITE)).labels for each in (pixels, moved))
    assert np.mean(own != other) > 0.8
