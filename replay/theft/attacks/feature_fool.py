"""Feature Fool: small changes that give an image the features of another class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor, nn

from gamekeeper.replay.theft import WHITE, Floats, Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.jba_pgd import EPOCHS, TARGETS
from gamekeeper.replay.theft.craft import Aims, augment, likeliest
from gamekeeper.replay.theft.model import Classifier, scaled

WEIGHT = 10.0
"""The triplet loss's weight lambda; the paper does not say. Much below, no image moves at all."""
ALPHA = 0.5
"""The margin's constant alpha; the paper does not say."""
ITERATIONS = 30
"""L-BFGS-B's iterations per image; the paper does not say. More than these change little."""
TINY = 1e-12
"""Keeps the square root differentiable where nothing has moved yet."""


def feature_fool(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    k: int = TARGETS,
    weight: float = WEIGHT,
    iterations: int = ITERATIONS,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with Feature Fool (Yu et al., as told by Zhang and Wagner, section III-A, eq. 1, 2).

    Each round initialises the substitute anew, trains it, and for every image `x` labelled so far
    and each of its `k` likeliest other classes finds the image `x'` that minimises its distance to
    `x` plus the weighted triplet loss `max(M + d(x_t, x') - d(x, x'), 0)`, where `d` is the
    distance of features and `x_t` an image of the target class. Equation (2) is printed with the
    two distances exchanged, which would keep `x'` where it is. Features are those of the
    substitute's last hidden layer at length 1, as usual for triplet losses. The paper does not say
    how `x_t` is chosen: here at random among the labelled images that the substitute finds to be
    of the class, or the likeliest one where there is none.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: decides initial weights, training order and the images of the target classes.
        k: target classes per image.
        weight: the triplet loss's weight lambda.
        iterations: L-BFGS-B's iterations per image at most.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """

    def craft(model: Classifier, images: Images, labels: Labels, wanted: int) -> Floats:
        aims = likeliest(model, images, labels, k, wanted)
        features = _features(model, torch.from_numpy(images)).detach()
        margins = _margins(features, labels, model.classes)
        guides = features[_guides(model, images, aims, rng)]
        moved = [
            _fool(model, image, guide, margins[own], weight, iterations)
            for image, guide, own in zip(aims.images, guides, aims.own, strict=True)
        ]
        return np.stack(moved)

    return augment(oracle, start, budget, rng, craft, epochs=epochs, fresh=True)


def _features(model: Classifier, pixels: Tensor) -> Tensor:
    """Give `(n, d)` features of length 1."""
    return nn.functional.normalize(model.layers[:-1](scaled(pixels)))


def _margins(features: Tensor, labels: Labels, classes: int) -> list[float]:
    """Give each class's M: alpha less the mean squared distance between two of its images."""
    margins = []
    for label in range(classes):
        own = features[torch.from_numpy(labels == label)]
        margins.append(
            ALPHA - (nn.functional.pdist(own).square().mean().item() if len(own) > 1 else 0.0)
        )
    return margins


def _guides(
    model: Classifier, images: Images, aims: Aims, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Choose the row of an image of each target class."""
    answers = model(images)
    rows = [np.flatnonzero(answers.labels == target) for target in range(model.classes)]
    likeliest_rows = answers.probabilities.argmax(axis=0)
    return np.array(
        [
            rng.choice(rows[target]) if len(rows[target]) else likeliest_rows[target]
            for target in aims.targets
        ]
    )


def _fool(
    model: Classifier,
    image: NDArray[np.uint8],
    guide: Tensor,
    margin: float,
    weight: float,
    iterations: int,
) -> Floats:
    """Minimise equation (1) for one image from where it is, within the pixels' range."""
    clean = torch.from_numpy(image)[None] / WHITE
    home = _features(model, clean * WHITE).detach()

    def loss(pixels: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        moved = torch.from_numpy(pixels).float().reshape(clean.shape).requires_grad_()
        features = _features(model, moved * WHITE)
        triplet = margin + _distance(guide, features) - _distance(home, features)
        total = _distance(clean, moved) + weight * triplet.clamp(min=0)
        (gradient,) = torch.autograd.grad(total, moved)
        return total.item(), gradient.double().numpy().ravel()

    found = minimize(
        loss,
        clean.double().numpy().ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * clean.numel(),
        options={"maxiter": iterations},
    )
    pixels: Floats = (found.x * WHITE).astype(np.float32).reshape(image.shape)
    return pixels


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b).square().sum() + TINY).sqrt()
