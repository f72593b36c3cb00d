"""DeepFool: the shortest way across the nearest border, by linear steps."""

from __future__ import annotations

import torch
from torch import Tensor

from gamekeeper.replay.theft import WHITE, Floats
from gamekeeper.replay.theft.model import Classifier

BATCH = 32
"""Images at a time, which bounds memory: each has a gradient for every class."""
OVERSHOOT = 1e-6
"""The share by which the way is lengthened, so that it ends beyond the border; the paper's 0.02
(section 2) would lengthen every way alike."""
_NO_ZERO = 1e-7
"""Added to norms that are divided by."""


def deepfool(model: Classifier, pixels: Floats, iterations: int) -> Floats:
    """Move `(n, ...)` pixels of 0..1 to where the classifier finds another class.

    Moosavi-Dezfooli et al. (2016), Algorithm 2: for as long as it finds an image's own class, the
    classifier is taken to be linear there and the image moved to the nearest border.
    """
    parts = torch.split(torch.from_numpy(pixels), BATCH)
    moved: Floats = torch.cat([_walk(model, each, iterations) for each in parts]).numpy()
    return moved


def _walk(model: Classifier, begin: Tensor, iterations: int) -> Tensor:
    rows = torch.arange(len(begin))
    with torch.no_grad():
        own = _logits(model, begin).argmax(dim=1)
    moved = begin
    for _ in range(iterations):
        moved = moved.detach().requires_grad_()
        logits = _logits(model, moved)
        inside = logits.argmax(dim=1) == own
        if not inside.any():
            break
        slopes = _gradients(logits, moved)
        slopes = slopes - slopes[rows, own][:, None]
        gaps = (logits - logits[rows, own][:, None]).detach().abs()
        lengths = slopes.flatten(2).norm(dim=2)
        away = gaps / (lengths + _NO_ZERO)
        away[rows, own] = torch.inf
        nearest = away.argmin(dim=1)
        share = gaps[rows, nearest] / (lengths[rows, nearest].square() + _NO_ZERO)
        step = torch.einsum("n,n...->n...", share * inside, slopes[rows, nearest])
        moved = (moved.detach() + step).clamp(0.0, 1.0)
    return (begin + (1.0 + OVERSHOOT) * (moved.detach() - begin)).clamp(0.0, 1.0)


def _logits(model: Classifier, pixels: Tensor) -> Tensor:
    return model.logits(pixels * WHITE)


def _gradients(logits: Tensor, pixels: Tensor) -> Tensor:
    """Differentiate `(n, k)` logits with regard to `(n, ...)` pixels: `(n, k, ...)`."""
    return torch.stack(
        [
            torch.autograd.grad(column.sum(), pixels, retain_graph=True)[0]
            for column in logits.unbind(dim=1)
        ],
        dim=1,
    )
