"""Carlini and Wagner's L2 attack, targeted: the smallest change that reaches a class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gamekeeper.replay.theft import WHITE, Floats, Images, Labels
from gamekeeper.replay.theft.model import Classifier

BATCH = 128
"""Images at a time, which bounds memory."""
WEIGHT, RATE = 1e-3, 0.01
"""Initial weight of the class's loss and Adam's learning rate: Foolbox's defaults."""
WITHIN = 0.999999
"""Keeps black and white pixels from lying at infinity."""


class _Try(NamedTuple):
    """`(n, ...)` images in 0..1, their squared distances `(n,)`, whether they are of the class."""

    images: Tensor
    distance: Tensor
    reached: Tensor


def carlini(
    model: Classifier, images: Images, targets: Labels, *, steps: int, searches: int
) -> Floats:
    """Change each image as little as possible so that the classifier finds its target class.

    As in the paper, Adam minimises squared distance plus weighted class loss in arctanh space, and
    the weight is searched for each image: ten times larger until the target is reached, then
    halving the interval. An image whose target was never reached is given as it was last tried.
    ART's implementation is not used: it takes other steps than Adam's and very many more.

    Returns:
        Pixels 0..255, shaped like the images.
    """
    parts = range(0, len(images), BATCH)
    moved = [
        _search(
            model,
            torch.from_numpy(images[row : row + BATCH]) / WHITE,
            torch.from_numpy(targets[row : row + BATCH]),
            steps,
            searches,
        ).numpy()
        for row in parts
    ]
    return np.concatenate(moved) * np.float32(WHITE)


def _search(
    model: Classifier, images: Tensor, targets: Tensor, steps: int, searches: int
) -> Tensor:
    """Search the weight of each image and keep the closest one that reached its target."""
    best, closest = images.clone(), torch.full((len(images),), torch.inf)
    weight = torch.full((len(images),), WEIGHT)
    low, high = torch.zeros(len(images)), torch.full((len(images),), torch.inf)
    for _ in range(searches):
        found = torch.zeros(len(images), dtype=torch.bool)
        for tried in _descend(model, images, targets, weight, steps):
            nearer = tried.reached & (tried.distance < closest)
            closest[nearer] = tried.distance[nearer]
            kept = nearer | closest.isinf()
            best[kept] = tried.images[kept]
            found |= tried.reached
        high, low = torch.where(found, weight, high), torch.where(found, low, weight)
        weight = torch.where(high.isinf(), 10 * weight, (low + high) / 2)
    return best


def _descend(
    model: Classifier, images: Tensor, targets: Tensor, weight: Tensor, steps: int
) -> Iterator[_Try]:
    """Take Adam's steps from the images on."""
    place = torch.atanh((2 * images - 1) * WITHIN).requires_grad_()
    adam = torch.optim.Adam([place], lr=RATE)
    for _ in range(steps):
        moved = (torch.tanh(place) + 1) / 2
        distance = (moved - images).square().flatten(1).sum(dim=1)
        lead = _lead(model, moved, targets)
        (place.grad,) = torch.autograd.grad((distance + weight * lead.clamp(min=0)).sum(), place)
        yield _Try(moved.detach(), distance.detach(), lead.detach() < 0)
        adam.step()


def _lead(model: Classifier, images: Tensor, targets: Tensor) -> Tensor:
    """Say by how much the strongest other class's logit exceeds the target's."""
    logits = model.logits(images * WHITE)
    column = targets[:, None]
    others = logits.scatter(1, column, -torch.inf).amax(dim=1)
    return others - logits.gather(1, column)[:, 0]
