"""A density for a calibration that has no networks: fitted to the vectors of accounts of its own.

A density knows the rows that it was fitted to too well, and thresholds from those would be too low
(`calibrate` chooses them on other accounts). So some accounts of the traces are set apart for it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from gamekeeper.replay.traces import Life, TraceStore, open_trace
from gamekeeper.replay.tune.calibration.benign_lives import benign_lives, naming, reaching
from gamekeeper.replay.tune.calibration.feedback import NO_FEEDBACK, Feedback
from gamekeeper.replay.tune.datasets import dataset_of
from gamekeeper.replay.tune.training.train import TrainPlan, train
from gamekeeper.schemas.errors import ProfileError, TraceError

SHARE: Final = 5
"""One account in so many: a fifth more traffic, for a density of more than a few customers."""
LIMIT: Final = 20_000
"""Rows, drawn evenly: mixtures of 16 Gaussians in 30 dimensions have 8,000 parameters."""


def fit_own_density(
    paths: Sequence[Path | str],
    out: Path,
    *,
    model: str | None = None,
    life: int,
    exclude: Collection[str] = (),
    exclude_kinds: Collection[str] = (),
    feedback: Feedback = NO_FEEDBACK,
    seed: int = 0,
) -> tuple[str, ...]:
    """Fit a mixture of Gaussians into the folder `out`; give the names of the accounts it is of.

    These are one in `SHARE`, at least one, drawn from the benign accounts that reach `life`
    queries. Raises `ProfileError` where inputs are images, and
    `TraceError` for faulty traces, for several models and where no two accounts reach the life.
    """
    with open_trace(paths) as store:
        known = _of(store.lives, model)
        lives = reaching(benign_lives(known, exclude, exclude_kinds, feedback), life)
        names = sorted({each.account for each in lives})
        if len(names) < 2:  # one to learn from, one to calibrate on
            raise TraceError(
                f"{len(names)} of the accounts reach {life} queries: a density is fitted to some "
                "and calibrated on others; record more, or use a shorter --life"
            )
        _check_vectors(store, lives[0])
        order = np.random.default_rng(seed).permutation(len(names))
        chosen = {names[place] for place in order[: max(1, len(names) // SHARE)]}
        own = [each for each in lives if each.account in chosen]
        data = dataset_of(store, own, limit=LIMIT, seed=seed)
    train(data, TrainPlan(features=("log_likelihood",), seed=seed), out)
    return tuple(sorted(chosen))


def _of(lives: Sequence[Life], model: str | None) -> list[Life]:
    """Keep the lives of the one model that is meant; raises `TraceError`."""
    models = sorted({life.model for life in lives if model in (None, life.model)})
    if len(models) != 1:
        found = naming(models or sorted({life.model for life in lives}))
        raise TraceError(f"the traces are of {found}; choose one of these with --model")
    return [life for life in lives if life.model == models[0]]


def _check_vectors(store: TraceStore, life: Life) -> None:
    shape = next(store.stretches(life, 1)).batch.inputs.shape[1:]
    if len(shape) > 1:
        raise ProfileError(
            f"likelihood of inputs of shape {shape} takes --networks with a density for such "
            "images: `gamekeeper train --only log_likelihood` makes one; for vectors it is fitted "
            "here"
        )
