"""Detectors over queries whose features are known: statistics, and accounts that alarms end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch, Featurizer, Floats
from gamekeeper.detectors.catalog import build

STEP: Final = 256
"""Queries that detectors are given at once; any number gives the same statistics."""
SHORT: Final = 64
"""The same, where all behind the first alarm is thrown away."""

Rows = NDArray[np.int64]


class Watch(msgspec.Struct, frozen=True):
    """A detector with its options."""

    detector: str
    options: dict[str, Any]


class Queries(NamedTuple):
    """Images that accounts send, in any order, with the victim's answers and their features."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    features: Mapping[str, NDArray[np.float32]]

    def batch(self, rows: Rows, first: int) -> Batch:
        """Make the batch of an account's queries from number `first` on."""
        return Batch(
            first,
            self.images[rows],
            self.labels[rows],
            self.probabilities[rows],
            {name: values[rows] for name, values in self.features.items()},
        )


def featurize(
    networks: Mapping[str, Featurizer], images: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Run networks over images, a chunk at a time, once over those that repeat."""
    numbers: dict[bytes, int] = {}
    places = [numbers.setdefault(each.tobytes(), len(numbers)) for each in images]
    different = images[np.unique(places, return_index=True)[1]]
    starts = range(0, max(1, len(different)), STEP)
    return {
        name: np.concatenate([network(different[at : at + STEP]) for at in starts])[places]
        for name, network in networks.items()
    }


def statistics(watch: Watch, queries: Queries, rows: Rows) -> Floats:
    """Give the statistic after each of one account's queries, NaN before it is ready."""
    detector = build(watch.detector, watch.options)
    parts = [
        detector.update(queries.batch(rows[at : at + STEP], at)) for at in range(0, len(rows), STEP)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def alarms(
    watches: Mapping[str, Watch], limits: Mapping[str, float], queries: Queries, rows: Rows
) -> int:
    """Count the accounts of a sender whom every alarm of any detector makes take a new one."""
    used = at = 0
    while at < len(rows):
        end = _end(watches, limits, queries, rows[at:])
        if end is None:
            break
        used, at = used + 1, at + end
    return used


def _end(
    watches: Mapping[str, Watch], limits: Mapping[str, float], queries: Queries, rows: Rows
) -> int | None:
    """Say after how many queries the first alarm of a new account comes."""
    detectors = {name: build(watches[name].detector, watches[name].options) for name in limits}
    for at in range(0, len(rows), SHORT):
        batch = queries.batch(rows[at : at + SHORT], at)
        above = [
            np.flatnonzero(detector.update(batch) > limits[name])
            for name, detector in detectors.items()
        ]
        first = [int(each[0]) for each in above if len(each)]
        if first:
            return at + min(first) + 1
    return None
