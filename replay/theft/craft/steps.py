"""Signed gradient steps: FGSM, iterated FGSM with and without momentum, projected descent."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gamekeeper.replay.theft import WHITE, Floats, Images, Labels
from gamekeeper.replay.theft.model import Classifier

BATCH = 256
"""Images at a time, which bounds memory."""


def signed_steps(
    model: Classifier,
    images: Images,
    classes: Labels,
    *,
    reach: float,
    step: float,
    steps: int,
    away: bool = False,
    scatter: np.random.Generator | None = None,
    decay: float | None = None,
) -> Floats:
    """Move images toward `(n,)` classes, or `away` from them, by `steps` signed gradient steps.

    Each pixel moves by `step` at a time, ends at most `reach` from where it was, and stays within
    0..255: iterative FGSM (PRADA version 2, section III-B), in one step FGSM. With `scatter`, the
    first step begins at a random point within reach, as projected gradient descent does (Madry et
    al. 2018, section 2.1). With `decay`, steps follow gradients gathered so far: MI-FGSM (Dong et
    al. 2018, Algorithm 1).
    """
    begin = torch.from_numpy(images.astype(np.float32))
    moved = begin if scatter is None else _scattered(begin, reach, scatter)
    forth = step if away else -step
    whole = begin, moved, torch.from_numpy(classes)
    parts = zip(*(torch.split(each, BATCH) for each in whole), strict=True)
    result: Floats = torch.cat(
        [_walk(model, *part, reach=reach, step=forth, steps=steps, decay=decay) for part in parts]
    ).numpy()
    return result


def _scattered(begin: Tensor, reach: float, rng: np.random.Generator) -> Tensor:
    # By numpy's older generator: traces made before have begun at its numbers.
    draws = np.random.RandomState(int(rng.integers(2**32)))
    noise = draws.uniform(-reach, reach, tuple(begin.shape)).astype(np.float32)
    return (begin + torch.from_numpy(noise)).clamp(0.0, WHITE)


def _walk(
    model: Classifier,
    begin: Tensor,
    moved: Tensor,
    classes: Tensor,
    *,
    reach: float,
    step: float,
    steps: int,
    decay: float | None,
) -> Tensor:
    gathered = torch.zeros_like(begin)
    for _ in range(steps):
        direction = _gradient(model, moved, classes)
        if decay is not None:
            direction = gathered = decay * gathered + _unit(direction)
        moved = (moved + step * direction.sign()).clamp(0.0, WHITE)
        moved = begin + (moved - begin).clamp(-reach, reach)
    return moved


def _gradient(model: Classifier, pixels: Tensor, classes: Tensor) -> Tensor:
    """Differentiate the mean loss; of a substitute that diverged, nothing moves an image."""
    pixels = pixels.detach().requires_grad_()
    loss = functional.cross_entropy(model.logits(pixels), classes)
    (gradient,) = torch.autograd.grad(loss, pixels)
    return gradient.nan_to_num(nan=0.0)


def _unit(gradient: Tensor) -> Tensor:
    """Divide each image's gradient by its L1 norm; what is zero stays zero."""
    smallest = torch.finfo(gradient.dtype).tiny
    flat = functional.normalize(gradient.flatten(1), p=1.0, dim=1, eps=smallest)
    return flat.view_as(gradient)
