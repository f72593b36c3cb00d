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

import msgspec
import numpy as np

from gamekeeper.detectors.engine import Arrival, Engine, Profile, Source
from gamekeeper.replay.traces import Life, TraceEvent, TraceStore
from gamekeeper.replay.tune.evaluation import BATCH, shard
from gamekeeper.replay.tune.processes import over_shards
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
    # Without thresholds no alarm resets a detector: what is measured goes up to the first alarm.
    quiet = msgspec.structs.replace(
        profile,
        detectors=tuple(
            msgspec.structs.replace(each, threshold=math.inf) for each in profile.detectors
        ),
    )
    results: dict[int, list[Maxima]] = {}
    work = partial(_measure_shard, store.folder, quiet, networks, queries, batch)
    done = 0
    for number, found in over_shards(work, shard(lives), jobs):
        results[number] = found
        done += len(found)
        advance(done, len(lives))
    return [each for number in sorted(results) for each in results[number]]


def _measure_shard(
    folder: Path,
    profile: Profile,
    networks: Path,
    queries: int,
    batch: int,
    _number: int,
    lives: Sequence[Life],
) -> list[Maxima]:
    store = TraceStore(folder)
    featurizers = load_networks(profile, networks)
    return [
        Maxima(
            life, life_maxima(Engine(profile, featurizers), life, store.life(life), queries, batch)
        )
        for life in lives
    ]


def life_maxima(
    engine: Engine, life: Life, events: Iterable[TraceEvent], queries: int, batch: int
) -> dict[str, float]:
    """Run a life's first `queries` queries through a fresh engine; give each detector's maximum.

    An event that goes beyond them counts up to there only.
    """
    maxima = {each.detector: -math.inf for each in engine.profile.detectors}
    for arrivals in first_queries(life, events, queries, batch):
        for outcome in engine.process(arrivals):
            for name, statistics in outcome.statistics.items():
                within = statistics[: queries - outcome.first]
                # fmax passes over NaN, which is "not yet ready".
                maxima[name] = float(np.fmax.reduce(within, initial=maxima[name]))
    return maxima


def first_queries(
    life: Life, events: Iterable[TraceEvent], queries: int, size: int
) -> Iterator[list[Arrival]]:
    """Collect events up to `size` queries, until `queries` are reached; an event is never cut."""
    arrivals: list[Arrival] = []
    begin = end = 0
    for number, each in enumerate(events):
        arrivals.append(Arrival(each.event, Source(life.trace, 0, number)))
        end = each.first + len(each.event)
        if end >= queries:
            break
        if end - begin >= size:
            yield arrivals
            arrivals, begin = [], end
    if arrivals:
        yield arrivals
