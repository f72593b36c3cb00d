"""The largest statistics of each life: all that a promise about lives needs of a trace.

An account alarms in its first `life` queries exactly if the largest statistic of these is above
the threshold (strictly). A detector that is never ready in that time (NaN throughout) raises no
alarm at any threshold: its maximum is minus infinity. When it first alarms after that, is known
from where the largest statistic so far grows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.engine import Account, Profile, Stretch, with_features
from gamekeeper.replay.traces import Life, TraceStore
from gamekeeper.replay.tune.calibration.remembering import remembering_networks
from gamekeeper.replay.tune.evaluation import BATCH, Shard, shard
from gamekeeper.replay.tune.processes import over

if TYPE_CHECKING:
    from gamekeeper.replay.tune.calibration.journal import Journal


class Later(NamedTuple):
    """What came after the first queries of a life.

    `queries` counts it; `records` has, by detector, where the largest statistic of it so far grew
    (the first query of it is 0), and to what.
    """

    queries: int
    records: dict[str, list[tuple[int, float]]]

    def first_above(self, detector: str, threshold: float) -> int | None:
        """Say which query of it was the first above a threshold.

        >>> Later(9, {"rate": [(2, 0.5), (4, 1.0)]}).first_above("rate", 0.5)
        4
        """
        return next((at for at, value in self.records[detector] if value > threshold), None)


class Maxima(NamedTuple):
    """A life and each detector's largest statistic in the first queries of it, and what came later.

    `later` is None where only the first queries were looked at.
    """

    life: Life
    maxima: dict[str, float]
    later: Later | None = None


def measure(
    store: TraceStore,
    lives: Sequence[Life],
    profile: Profile,
    queries: int,
    *,
    beyond: int = 0,
    networks: Path = Path(),
    jobs: int = 1,
    batch: int = BATCH,
    journal: Journal | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Maxima]:
    """Score the first `queries` queries of lives, in shards that `jobs` processes take.

    And `beyond` queries after these, of which it is told when the statistic grew.

    What an open `journal` has is not scored again, and it is told the rest.

    The profile's thresholds have no effect; its networks lie in the folder `networks`. Results
    come in the order of `lives` and depend neither on `jobs` nor on `batch`. `advance` is told the
    lives done so far and in all. Raises `TraceError` for faulty traces.
    """
    results: dict[int, list[Maxima]] = {}
    work = partial(_measure_shard, store.folder, profile, networks, (queries, beyond), batch)
    parts, how = shard(lives), (queries, beyond)
    for each in parts:
        if journal and (known := journal.scored(each.lives, how)) is not None:
            results[each.number] = known
    done = sum(map(len, results.values()))
    advance(done, len(lives))
    left = [each for each in parts if each.number not in results]
    for each, found in over(work, left, jobs, here=True):
        results[each.number] = found
        if journal:
            journal.keep(each.lives, how, found)
        done += len(found)
        advance(done, len(lives))
    return [each for number in sorted(results) for each in results[number]]


def _measure_shard(
    folder: Path,
    profile: Profile,
    networks: Path,
    queries: tuple[int, int],
    batch: int,
    part: Shard,
) -> list[Maxima]:
    store = TraceStore(folder)
    featurizers = remembering_networks(profile, networks)
    found = []
    for life in part.lives:
        parts = first_queries(store.stretches(life, batch), sum(queries))
        batches = (with_features(featurizers, part) for part in parts)
        found.append(Maxima(life, *life_maxima(Account(profile), batches, *queries)))
    return found


def life_maxima(
    account: Account, batches: Iterable[Batch], queries: int, beyond: int
) -> tuple[dict[str, float], Later | None]:
    """Let a new account take a life; give each detector's maximum in its first queries, and later.

    `beyond` is the most of its later queries that count.
    """
    maxima = dict.fromkeys(account.detectors, -math.inf)
    records: dict[str, list[tuple[int, float]]] = {name: [] for name in account.detectors}
    seen = 0
    for batch in batches:
        cut = max(0, queries - batch.first)
        at = max(0, batch.first - queries)
        for name, statistics in account.update(batch).items():
            # fmax passes over NaN, which is "not yet ready".
            maxima[name] = float(np.fmax.reduce(statistics[:cut], initial=maxima[name]))
            rest = statistics[cut : cut + beyond - at]
            records[name] += _risen(rest, at, records[name][-1][1] if records[name] else -math.inf)
        seen = min(beyond, batch.first + len(batch) - queries)
    return maxima, Later(max(0, seen), records) if beyond else None


def _risen(statistics: Floats, first: int, before: float) -> list[tuple[int, float]]:
    """Say where the largest of `(n,)` statistics so far grew, `before` being the largest before."""
    largest = np.fmax.accumulate(np.concatenate([[before], statistics]))
    rises = np.flatnonzero(largest[1:] > largest[:-1])
    return [(first + int(at), float(largest[1 + at])) for at in rises]


def first_queries(stretches: Iterable[Stretch], queries: int) -> Iterator[Batch]:
    """Give a life's batches until `queries` queries are reached; the last one may go beyond."""
    for stretch in stretches:
        yield stretch.batch
        if stretch.batch.first + len(stretch.batch) >= queries:
            return
