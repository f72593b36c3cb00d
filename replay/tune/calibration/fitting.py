"""What calibration reads off benign accounts before it chooses thresholds.

Three options belong to the networks' own scale, so that none is right for all: the distance below
which two embeddings are similar, the mean log-likelihood of benign queries, and the score above
which a query is out of distribution.

* `similarity.delta` lets the average account make 25 pairs in its life, half of the 50 at which
  Zhang and Wagner (section VIII-A) end an account; repeats, at distance 0, are left aside.
* `likelihood.center` is the mean over accounts of each one's mean.
* `ood.cut` is the 95th percentile of all accounts' scores: one benign query in twenty is above it.
  That is where such scores are usually compared (by the outliers that pass where 95 % of the own
  inputs do), and an attack with other images has a share of nearly 1 to be told by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import EMBEDDING, LIKELIHOOD, OOD, Batch, Featurizer, Floats
from gamekeeper.detectors.engine import Profile, resolve, with_features
from gamekeeper.replay.traces import Life, TraceStore
from gamekeeper.replay.tune.calibration.maxima import first_queries
from gamekeeper.replay.tune.evaluation import BATCH, shard
from gamekeeper.replay.tune.processes import over_shards
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.stream.profile_files import load_networks

FITTED = {"similarity": "delta", "likelihood": "center", "ood": "cut"}
"""Detectors with an option that is fitted, and which."""
PAIRS = 25
PASSING = 0.95
"""The share of benign queries that are not out of distribution."""
ACCOUNTS = 100
"""Accounts that are looked at: quantiles of 100 lives are exact enough, and networks take time."""
_BLOCK = 512


class Reading(NamedTuple):
    """One account: `(n,)` distances to the nearest earlier query, repeats aside.

    `mean` is that of its log-likelihoods, `scores` are how far its queries are out of distribution.
    """

    distances: Floats
    mean: float | None
    scores: NDArray[np.float32] | None = None


def fit(
    profile: Profile,
    options: Collection[str],
    store: TraceStore,
    lives: Sequence[Life],
    queries: int,
    *,
    networks: Path,
    jobs: int = 1,
) -> Profile:
    """Fill in the fitted options of the detectors named, from the first `queries` of each life.

    Raises `ProfileError` where the traces do
    not have the feature, neither from events nor from a network.
    """
    chosen = list(lives[:: -(-len(lives) // ACCOUNTS)])
    work = partial(_read_shard, store.folder, profile, networks, queries)
    readings: list[Reading] = []
    for _, found in sorted(over_shards(work, shard(chosen), jobs), key=itemgetter(0)):
        readings += found
    values = {
        "similarity": partial(delta, readings),
        "likelihood": partial(center, readings),
        "ood": partial(cut, readings),
    }
    detectors = tuple(
        msgspec.structs.replace(
            each,
            options={**each.options, FITTED[each.detector]: values[each.detector]()},
        )
        if each.detector in options
        else each
        for each in profile.detectors
    )
    return resolve(msgspec.structs.replace(profile, detectors=detectors))


def delta(readings: Sequence[Reading]) -> float:
    """Choose the distance at which the average account makes 25 pairs."""
    distances = np.sort(np.concatenate([each.distances for each in readings]))
    place = PAIRS * len(readings)
    if place >= len(distances):
        raise ProfileError(
            f"similarity.delta cannot be chosen from {len(distances)} embeddings of "
            f"{len(readings)} accounts: give it with --set similarity.delta=..., use longer lives, "
            "or name --networks with an encoder for these inputs"
        )
    return float(distances[place])


def center(readings: Sequence[Reading]) -> float:
    """Average the accounts' mean log-likelihoods."""
    means = [each.mean for each in readings if each.mean is not None]
    if not means:
        raise ProfileError(
            "likelihood takes --networks with a density for inputs like those of the traces"
        )
    return float(np.mean(means))


def cut(readings: Sequence[Reading]) -> float:
    """Choose the score that 95 % of all queries do not exceed."""
    scores = [each.scores for each in readings if each.scores is not None]
    if not scores:
        raise ProfileError("ood takes --networks with an ood network for inputs like the traces'")
    return float(np.quantile(np.concatenate(scores).astype(np.float64), PASSING))


def _read_shard(
    folder: Path,
    profile: Profile,
    networks: Path,
    queries: int,
    _number: int,
    lives: Sequence[Life],
) -> list[Reading]:
    store = TraceStore(folder)
    featurizers = load_networks(profile, networks)
    return [
        _read(featurizers, first_queries(store.stretches(life, BATCH), queries)) for life in lives
    ]


def _read(featurizers: Sequence[Featurizer], batches: Iterable[Batch]) -> Reading:
    embeddings, likelihoods, scores = [], [], []
    for batch in batches:
        features = with_features(featurizers, batch).features
        if EMBEDDING in features:
            embeddings.append(features[EMBEDDING])
        if LIKELIHOOD in features:
            likelihoods.append(features[LIKELIHOOD])
        if OOD in features:
            scores.append(features[OOD][:, 0])
    mean = float(np.mean(np.concatenate(likelihoods), dtype=np.float64)) if likelihoods else None
    return Reading(
        nearest(np.concatenate(embeddings)) if embeddings else np.empty(0),
        mean,
        np.concatenate(scores) if scores else None,
    )


def nearest(vectors: NDArray[np.float32]) -> Floats:
    """Measure from each of `(n, d)` vectors to the nearest earlier one, where that is above 0.

    >>> nearest(np.array([[0.0], [3.0], [0.0], [4.0]], np.float32)).tolist()
    [3.0, 1.0]
    """
    rows = np.unique(vectors, axis=0, return_index=True)[1]
    kept = vectors[np.sort(rows)].astype(np.float64)
    squares = np.einsum("ij,ij->i", kept, kept)
    found = np.full(len(kept), np.inf)
    for start in range(0, len(kept), _BLOCK):
        part = kept[start : start + _BLOCK]
        end = start + len(part)
        squared = squares[start:end, None] + squares[:end] - 2 * part @ kept[:end].T
        squared[np.arange(end)[None] >= np.arange(start, end)[:, None]] = np.inf
        found[start:end] = squared.min(axis=1)
    distances: Floats = np.sqrt(np.maximum(found[1:], 0.0))
    return distances
