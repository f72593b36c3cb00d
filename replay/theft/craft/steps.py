"""Signed gradient steps: iterative FGSM and projected gradient descent, by ART."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from art.attacks.evasion import ProjectedGradientDescentPyTorch

from gamekeeper.replay.theft import Floats, Images, Labels
from gamekeeper.replay.theft.craft.art_model import art_model
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
) -> Floats:
    """Move images toward `(n,)` classes, or `away` from them, by `steps` signed gradient steps.

    Each pixel moves by `step` at a time, ends at most `reach` from where it was, and stays within
    0..255: iterative FGSM (PRADA version 2, section III-B). With `scatter`, the first step begins
    at a random point within reach, as projected gradient descent does.
    """
    attack = ProjectedGradientDescentPyTorch(
        art_model(model),
        norm=np.inf,
        eps=reach,
        eps_step=step,
        max_iter=steps,
        targeted=not away,
        num_random_init=0 if scatter is None else 1,
        batch_size=BATCH,
        verbose=False,
    )
    with _seeded(scatter):
        moved: Floats = attack.generate(images.astype(np.float32), classes)
    return moved


@contextmanager
def _seeded(rng: np.random.Generator | None) -> Iterator[None]:
    """Let `rng` decide what ART draws from numpy's global generator, and put that back."""
    if rng is None:
        yield
        return
    before = np.random.get_state()  # noqa: NPY002  the one that ART draws from
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
