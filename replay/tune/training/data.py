"""A data set as networks take it: prepared tensors on both sides of the split."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gamekeeper.detectors.networks import Bound, prepare
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.replay.tune.training.split import Split
from gamekeeper.schemas.errors import TraceError


class Prepared(NamedTuple):
    """Prepared rows `(n, c, h, w)` or `(n, d)` to train on and held out, with their labels.

    `mean` and `std`, `(d,)`, are those of the training vectors' columns (1 where a column is
    constant); images have a mean of 0 and a std of 1.
    """

    train: Tensor
    labels: Tensor
    held_out: Tensor
    held_labels: Tensor
    mean: Tensor
    std: Tensor
    classes: int


def is_image(dataset: Dataset) -> bool:
    """Tell images from vectors by the shape of a row."""
    return dataset.inputs.ndim > 2


def value_range(dataset: Dataset, split: Split) -> tuple[Bound, Bound]:
    """Say from which low to which high the training rows' values are mapped to 0 to 1.

    Images whose values lie within 0 to 1 have that range; vectors have one for each column, so that
    a column of small numbers keeps its digits beside one of large numbers.
    """
    rows = dataset.inputs[split.train]
    low, high = float(rows.min()), float(rows.max())
    if is_image(dataset) and low >= 0 and high <= 1:
        return 0.0, 1.0
    if low == high:
        raise TraceError(f"all values to train on are {low:g}: there is nothing to learn")
    return (low, high) if is_image(dataset) else _columns(rows.astype(np.float64))


def _columns(rows: NDArray[np.float64]) -> tuple[Bound, Bound]:
    """Give the columns' ranges; that of a constant one reaches to 0, or from 0 to 1."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    constant = low == high
    low[constant] = np.minimum(low[constant], 0.0)
    high[constant] = np.where(high[constant] == 0, 1.0, np.maximum(high[constant], 0.0))
    return tuple(low.tolist()), tuple(high.tolist())


def prepared(dataset: Dataset, split: Split, spec: dict[str, Any]) -> Prepared:
    """Bring a data set to what the spec's network takes, on the device to train on."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train = prepare(dataset.inputs[split.train], spec).to(device)
    held_out = prepare(dataset.inputs[split.held_out], spec).to(device)
    mean, std = torch.zeros((), device=device), torch.ones((), device=device)
    if not is_image(dataset):
        values = train.double()
        mean, std = values.mean(0).float(), values.std(0, correction=0).float()
        std = torch.where(std > 0, std, torch.ones_like(std))
    labels = [
        torch.from_numpy(dataset.labels[places].astype(np.int64)).to(device)
        for places in (split.train, split.held_out)
    ]
    return Prepared(train, labels[0], held_out, labels[1], mean, std, int(dataset.labels.max()) + 1)
