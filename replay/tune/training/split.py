"""Which rows are held out from training: whole accounts where rows have any, else of each class."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.schemas.errors import TraceError

Places = NDArray[np.int64]


class Split(NamedTuple):
    """Places of the rows to train on and of those held out, and how they were parted."""

    train: Places
    held_out: Places
    how: str


def split(dataset: Dataset, share: float, seed: int) -> Split:
    """Hold out about `share` of the rows.

    Raises `TraceError` where there is too little to split.
    """
    random = np.random.default_rng(seed)
    if dataset.groups is not None and dataset.groups.max() > 0:
        chosen = _of_groups(dataset.groups, share, random)
        how = "by group: no account, nor value of --group, is on both sides"
    else:
        chosen = _of_classes(dataset.labels, share, random)
        how = "by row, the same share of each class"
    held_out, train = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    if min(len(held_out), len(train)) < 2:
        raise TraceError(
            f"{len(dataset)} distinct rows are too few to train on and to hold some out"
        )
    return Split(train, held_out, how)


def _of_groups(
    groups: NDArray[np.int64], share: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose groups at random until they have the share, one at least, all but one at most."""
    sizes = np.bincount(groups)
    order = random.permutation(len(sizes))
    before = sizes[order].cumsum() - sizes[order]
    count = min(max(1, int((before < share * len(groups)).sum())), len(sizes) - 1)
    return np.isin(groups, order[:count])


def _of_classes(
    labels: NDArray[np.int64], share: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    chosen = np.zeros(len(labels), np.bool_)
    for label in range(labels.max() + 1):
        rows = np.flatnonzero(labels == label)
        chosen[random.permutation(rows)[: round(share * len(rows))]] = True
    return chosen
