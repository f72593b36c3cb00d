"""The largest statistic of each life: all that a promise about whole lives needs of a trace.

An account alarms in its first `life` queries exactly if the largest statistic of these is above
the threshold (strictly). A detector that is never ready in that time (NaN throughout) raises no
alarm at any threshold: its maximum is minus infinity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.engine import Account, Profile, Stretch, with_features
from gamekeeper.replay.traces import Life, TraceStore
from gamekeeper.replay.tune.evaluation import BATCH, Shard, shard
from gamekeeper.replay.tune.processes import over
from gamekeeper.stream.profile_files import load_networks


class Maxima(NamedTuple):
    """A life and each detector's largest statistic in the first queries of it."""

    life: Life
    maxima: dict[str, float]


def measure(
    store: TraceStore,
    lives: Sequence[Life],
    profile: Profile,
    queries: int,
    *,
    networks: Path = Path(),
    jobs: int = 1,
    batch: int = BATCH,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Maxima]:
    """Score the first `queries` queries of lives, in shards that `jobs` processes take.

    The profile's thresholds have no effect; its networks lie in the folder `networks`. Results
    come in the order of `lives` and depend neither on `jobs` nor on `batch`. `advance` is told the
    lives done so far and in all. Raises `TraceError` for faulty traces.
    """
    results: dict[int, list[Maxima]] = {}
    work = partial(_measure_shard, store.folder, profile, networks, queries, batch)
    done = 0
    for each, found in over(work, shard(lives), jobs, here=True):
        results[each.number] = found
        done += len(found)
        advance(done, len(lives))
    return [each for number in sorted(results) for each in results[number]]


def _measure_shard(
    folder: Path,
    profile: Profile,
    networks: Path,
    queries: int,
    batch: int,
    part: Shard,
) -> list[Maxima]:
    store = TraceStore(folder)
    featurizers = load_networks(profile, networks)
    found = []
    for life in part.lives:
        parts = first_queries(store.stretches(life, batch), queries)
        batches = (with_features(featurizers, part) for part in parts)
        found.append(Maxima(life, life_maxima(Account(profile), batches, queries)))
    return found


def life_maxima(account: Account, batches: Iterable[Batch], queries: int) -> dict[str, float]:
    """Let a new account take a life's first `queries` queries; give each detector's maximum."""
    maxima = dict.fromkeys(account.detectors, -math.inf)
    for batch in batches:
        for name, statistics in account.update(batch).items():
            within = statistics[: queries - batch.first]
            # fmax passes over NaN, which is "not yet ready".
            maxima[name] = float(np.fmax.reduce(within, initial=maxima[name]))
    return maxima


def first_queries(stretches: Iterable[Stretch], queries: int) -> Iterator[Batch]:
    """Give a life's batches until `queries` queries are reached; the last one may go beyond."""
    for stretch in stretches:
        yield stretch.batch
        if stretch.batch.first + len(stretch.batch) >= queries:
            return
