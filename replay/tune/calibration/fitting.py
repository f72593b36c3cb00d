"""What calibration reads off benign accounts before it chooses thresholds.

Some detectors have an option on the scale of the feature that they read, so that none is right for
all: the distance below which two embeddings are similar, the mean log-likelihood of benign queries,
the score above which a query is out of distribution. Each says itself how it is chosen
(`Detector.fitted`); here benign accounts' features are read for that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch, Featurizer
from gamekeeper.detectors.catalog import DETECTORS, FITTED
from gamekeeper.detectors.engine import DetectorProfile, Profile, resolve, with_features
from gamekeeper.detectors.vectors import finite
from gamekeeper.replay.traces import Life, TraceStore
from gamekeeper.replay.tune.calibration.maxima import first_queries
from gamekeeper.replay.tune.calibration.remembering import remembering_networks
from gamekeeper.replay.tune.evaluation import BATCH, Shard, shard
from gamekeeper.replay.tune.processes import over

ACCOUNTS = 100
"""Accounts that are looked at: quantiles of 100 lives are exact enough, and networks take time."""

Readings = dict[str, NDArray[Any]]
"""What is needed of one account's features, by detector."""


def fit(
    profile: Profile,
    options: Collection[str],
    store: TraceStore,
    lives: Sequence[Life],
    queries: int,
    *,
    networks: Path,
    jobs: int = 1,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Profile:
    """Fill in the fitted options of the detectors named, from the first `queries` of each life.

    `advance` is told the accounts read so far and in all. Raises `ProfileError` where the traces do
    not have the feature, neither from events nor from a
    network.
    """
    chosen = list(lives[:: -(-len(lives) // ACCOUNTS)])
    work = partial(_read_shard, store.folder, profile, networks, tuple(options), queries)
    parts: dict[int, list[Readings]] = {}
    for part, found in over(work, shard(chosen), jobs, here=True):
        parts[part.number] = found
        advance(sum(map(len, parts.values())), len(chosen))
    readings = [each for number in sorted(parts) for each in parts[number]]
    detectors = tuple(
        fill(each, readings) if each.detector in options else each for each in profile.detectors
    )
    return resolve(msgspec.structs.replace(profile, detectors=detectors))


def fill(detector: DetectorProfile, readings: Sequence[Readings]) -> DetectorProfile:
    """Fill in a detector's fitted option, chosen from what was read of benign accounts.

    Raises `ProfileError` where there is nothing to choose from.
    """
    fitted = FITTED[detector.detector]
    value = fitted.choose([each[detector.detector] for each in readings])
    return msgspec.structs.replace(detector, options={**detector.options, fitted.option: value})


def _read_shard(
    folder: Path,
    profile: Profile,
    networks: Path,
    names: Collection[str],
    queries: int,
    part: Shard,
) -> list[Readings]:
    store = TraceStore(folder)
    featurizers = remembering_networks(profile, networks)
    return [
        read(names, featurizers, first_queries(store.stretches(life, BATCH), queries))
        for life in part.lives
    ]


def read(
    names: Collection[str], featurizers: Sequence[Featurizer], batches: Iterable[Batch]
) -> Readings:
    """Read for the detectors named what their options are chosen from, of one account's queries.

    `(0,)` where the account has no such feature; what is not of the first query's length is
    passed over.
    """
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for batch in batches:
        features = with_features(featurizers, batch).features
        for name, found in parts.items():
            feature = DETECTORS[name].feature
            part = features.get(feature) if feature else _answered(batch)
            if part is not None and part.shape[1:] == (found or [part])[0].shape[1:]:
                found.append(part)
    return {
        name: FITTED[name].read(np.concatenate(found)) if found else np.empty(0)
        for name, found in parts.items()
    }


def _answered(batch: Batch) -> NDArray[np.float32]:
    """Lay out inputs and answers `(n, d + 1)`, for a detector that reads no feature."""
    return np.column_stack([finite(batch.inputs.reshape(len(batch), -1)), batch.labels])
