"""What the networks that score out-of-distribution rows take beside a classifier's training."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from gamekeeper.detectors.networks import OUTLIER, OWN, OodMahalanobis
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.replay.tune.training.data import Prepared
from gamekeeper.replay.tune.training.networks import Score
from gamekeeper.schemas.errors import SettingsError, TraceError

CHUNK: Final = 256
_LEAST: Final = 1e-9
"""The least variance, in parts of the largest: no direction counts for infinitely much."""


def check(dataset: Dataset, outliers: Dataset | None, score: Score) -> None:
    """Refuse what a score cannot be trained on, with what would do.

    Raises `SettingsError` where the binary score has no outliers, `TraceError` where outliers are
    not like the data's rows, or where the other scores have no classes.
    """
    if score == "binary" and outliers is None:
        raise SettingsError(
            "the binary score learns what is not the model's own data: give images of other sets "
            "with --outliers, or choose --ood-score msp, odin or mahalanobis, which take none"
        )
    if score != "binary" and dataset.labels.max() == 0:
        raise TraceError(
            f"the score {score} is a classifier's, and all labels are the same; choose --ood-score "
            "binary with --outliers"
        )
    if outliers is not None and _kind(outliers) != _kind(dataset):
        raise TraceError(
            f"the outliers are {_kind(outliers)}, the data is {_kind(dataset)}; give outliers of "
            "the data's shape and dtype"
        )


def against(own: Prepared, outliers: Prepared) -> Prepared:
    """Join own rows and outliers as the two classes of the binary score; scales are the own's."""

    def labels(mine: Tensor, theirs: Tensor) -> Tensor:
        return torch.cat([torch.full_like(mine, OWN), torch.full_like(theirs, OUTLIER)])

    return own._replace(
        train=torch.cat([own.train, outliers.train]),
        labels=labels(own.labels, outliers.labels),
        held_out=torch.cat([own.held_out, outliers.held_out]),
        held_labels=labels(own.held_labels, outliers.held_labels),
        classes=2,
    )


@torch.no_grad()
def fit_classes(module: OodMahalanobis, data: Prepared) -> None:
    """Fill in the classes' means and their common covariance, of the training rows.

    The empirical covariance, as in the paper; the smallest variances are raised, so that it has an
    inverse where training rows are fewer than dimensions.
    """
    seen = [module.trunk(rows) for rows in torch.split(data.train, CHUNK)]
    features = torch.cat(seen).double().cpu().numpy()
    labels = data.labels.cpu().numpy()
    # A class that has only rows held out gets the mean of another, which is the nearest no oftener.
    trained = [each if (labels == each).any() else labels[0] for each in range(data.classes)]
    means = np.stack([features[labels == each].mean(0) for each in trained])
    away = features - means[labels]
    variances, directions = np.linalg.eigh(away.T @ away / len(away))
    least = _LEAST * max(variances[-1], _LEAST)
    module.means.copy_(torch.from_numpy(means))
    module.precision.copy_(torch.from_numpy(directions / np.sqrt(variances.clip(least))))


def _kind(dataset: Dataset) -> str:
    shape = "x".join(map(str, dataset.inputs.shape[1:]))
    return f"{shape} of {dataset.inputs.dtype.name}"
