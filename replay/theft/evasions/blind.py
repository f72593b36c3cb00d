"""Query blinding: slight random transformations, so that similar queries look less so."""

from __future__ import annotations

import numpy as np
import torch

from gamekeeper.replay.theft import WHITE, Images, Oracle, Reply, Request, Start, quantise
from gamekeeper.replay.tune.training.transforms import transformed


def blind(oracle: Oracle, start: Start, rng: np.random.Generator, *, transform: str) -> Oracle:
    """Send each image transformed by chance, and take the answer for the image's own.

    Zhang and Wagner, section VII-A, after Chen et al. (its [5]). `transform` is one of
    `training.transforms.TRANSFORMS`, the eight of Table X; each image gets a strength of its own,
    evenly drawn up to [5]'s default. Natural images are blinded, too (the paper blinds all that
    is labelled), and are then marked as synthetic; probes are not.
    """

    def blinded(request: Request) -> Reply:
        if request.probe:
            return oracle(request)
        images = changed(request.images, transform, int(rng.integers(2**31)))
        return oracle(request._replace(images=images, synthetic=True))

    return blinded


def changed(images: Images, transform: str, seed: int) -> Images:
    """Transform `(n, h, w)` or `(n, h, w, c)` images, each by a strength drawn from the seed."""
    grey = images.ndim == 3
    values = images[:, None] if grey else np.moveaxis(images, 3, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pixels = transformed(torch.from_numpy(np.ascontiguousarray(values)) / WHITE, transform)
    changed = quantise(pixels.numpy() * WHITE)
    return changed[:, 0] if grey else np.ascontiguousarray(np.moveaxis(changed, 1, 3))
