"""Signed steps against the Adversarial Robustness Toolbox: the same pixels, bit for bit."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from art.attacks.evasion import (
    FastGradientMethod,
    MomentumIterativeMethod,
    ProjectedGradientDescentPyTorch,
)

from gamekeeper.replay.theft import Images, Labels
from gamekeeper.replay.theft.craft import signed_steps
from gamekeeper.replay.theft.craft.steps import BATCH
from gamekeeper.replay.theft.model import Architecture, Classifier
from support.art_oracle import art_model
from support.natural_images import digits, victim

TOWARD_OR_AWAY = pytest.mark.parametrize("away", [False, True], ids=["toward", "away"])
KINDS = pytest.mark.parametrize("kind", ["grey", "colour"])


@functools.cache
def _colours() -> tuple[Classifier, Images, Labels]:
    """Return a model of small colour images, and images of noise that it has classes for."""
    rng = np.random.default_rng(5)
    images, labels = rng.integers(0, 256, (40, 12, 10, 3), dtype=np.uint8), rng.integers(0, 6, 40)
    model = Classifier(Architecture((12, 10, 3), 6), 1)
    model.fit(images, labels, 3)
    return model, images, labels


def _case(kind: str, most: int = 40) -> tuple[Classifier, Images, Labels]:
    if kind == "colour":
        return _colours()
    images, labels = digits()
    return victim(), images[-most:], labels[-most:]


def test_art_sees_the_classifier() -> None:
    """What ART is asked about is the classifier, on grey and on colour images."""
    for shape in ((8, 8), (8, 12, 3)):
        model = Classifier(Architecture(shape, 5), 1)
        images = np.random.default_rng(1).integers(0, 256, (6, *shape), dtype=np.uint8)
        logits = torch.from_numpy(art_model(model).predict(images.astype(np.float32)))
        probabilities = torch.softmax(logits, dim=1).numpy()
        np.testing.assert_allclose(probabilities, model(images).probabilities, atol=1e-5)


@KINDS
@TOWARD_OR_AWAY
def test_one_step_is_arts_fgsm(kind: str, away: bool) -> None:
    """FGSM: each pixel by the whole reach, unless the range of pixels ends."""
    model, images, classes = _case(kind)
    ours = signed_steps(model, images, classes, reach=64.0, step=64.0, steps=1, away=away)
    attack = FastGradientMethod(art_model(model), eps=64.0, targeted=not away, batch_size=BATCH)
    theirs = attack.generate(images.astype(np.float32), np.eye(model.classes)[classes])
    np.testing.assert_array_equal(ours, theirs)


@KINDS
@TOWARD_OR_AWAY
@pytest.mark.parametrize(("reach", "step", "steps"), [(64.0, 4.0, 40), (25.5, 25.5 / 11, 11)])
def test_steps_are_arts_projected_descent(
    kind: str, away: bool, reach: float, step: float, steps: int
) -> None:
    """With JB-topk's and N I-FGSM's numbers, over more images than one batch takes."""
    model, images, classes = _case(kind, BATCH + 30)
    ours = signed_steps(model, images, classes, reach=reach, step=step, steps=steps, away=away)
    attack = ProjectedGradientDescentPyTorch(
        art_model(model),
        eps=reach,
        eps_step=step,
        max_iter=steps,
        targeted=not away,
        batch_size=BATCH,
        verbose=False,
    )
    np.testing.assert_array_equal(ours, attack.generate(images.astype(np.float32), classes))


@KINDS
def test_scattered_steps_begin_where_arts_do(kind: str) -> None:
    """ART draws from numpy's global generator; a generator of one's own gives its seed."""
    model, images, classes = _case(kind, BATCH + 30)
    ours = signed_steps(
        model,
        images,
        classes,
        reach=7.96875,
        step=0.25,
        steps=10,
        scatter=np.random.default_rng(3),
    )
    attack = ProjectedGradientDescentPyTorch(
        art_model(model),
        eps=7.96875,
        eps_step=0.25,
        max_iter=10,
        targeted=True,
        num_random_init=1,
        batch_size=BATCH,
        verbose=False,
    )
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(int(np.random.default_rng(3).integers(2**32)))  # noqa: NPY002
    try:
        theirs = attack.generate(images.astype(np.float32), classes)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    np.testing.assert_array_equal(ours, theirs)


@KINDS
@TOWARD_OR_AWAY
def test_steps_with_momentum_are_arts(kind: str, away: bool) -> None:
    """MI-FGSM with the numbers of PRADA version 2, Table II."""
    model, images, classes = _case(kind)
    ours = signed_steps(
        model, images, classes, reach=64.0, step=64.0 / 11, steps=11, away=away, decay=1.0
    )
    attack = MomentumIterativeMethod(
        art_model(model),
        eps=64.0,
        eps_step=64.0 / 11,
        max_iter=11,
        decay=1.0,
        targeted=not away,
        batch_size=BATCH,
        verbose=False,
    )
    theirs = attack.generate(images.astype(np.float32), np.eye(model.classes)[classes])
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("decay", [None, 1.0])
def test_a_substitute_that_diverged_moves_nothing(decay: float | None) -> None:
    """Its gradients are no numbers, and an image is not to become one."""
    model = Classifier(Architecture((8, 8), 10), 1)
    with torch.no_grad():
        for weights in model.layers.parameters():
            weights.fill_(torch.nan)
    _, images, classes = _case("grey")
    still = signed_steps(model, images, classes, reach=64.0, step=4.0, steps=3, decay=decay)
    np.testing.assert_array_equal(still, images)
