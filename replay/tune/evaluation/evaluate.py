"""Offline evaluation: traces through the service's own engine, without a broker, on all cores.

Lives are packed into shards that depend on the traces alone; processes take shards, each of which
becomes one file per table. So results do not depend on how many processes there were.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from gamekeeper.detectors.engine import Profile
from gamekeeper.replay.traces import Life, TraceStore, open_trace
from gamekeeper.replay.tune.evaluation.life import Tally, score_life, watched
from gamekeeper.replay.tune.processes import over
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.tables import SCORES, verdict_rows, write_parquet
from gamekeeper.stream.profile_files import load_networks

BATCH = 256
"""Queries that the engine is given at a time; results do not depend on it."""

# A shard is what a process holds at once and the step of the progress display.
_SHARDS = 32
_SHARD_QUERIES = 200_000
_PART = re.compile(r"part-\d{5,}\.parquet")


class LifeResult(NamedTuple):
    """A life and one tally per detector (and one for any, where there are several)."""

    life: Life
    tallies: list[Tally]


class _Work(NamedTuple):
    """What a process needs to know to score a shard."""

    store: Path
    out: Path
    profile: Profile
    networks: Path
    batch: int


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def evaluate(
    paths: Iterable[Path | str],
    out: Path,
    profile: Profile,
    *,
    networks: Path = Path(),
    jobs: int = 1,
    batch: int = BATCH,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[LifeResult]:
    """Score traces with a profile; write `out/scores` and `out/verdicts`, return the lives.

    `networks` is the folder where the files of the profile's networks lie, if it has some.
    Lives come sorted by trace, account and model. `advance` is told the queries scored so far and
    in all. Parts that an earlier evaluation left in `out` are replaced. Raises `TraceError` for
    faulty traces and for an `out` that holds other tables, `ProfileError` for a profile that
    watches no model of the traces.
    """
    with open_trace(paths) as store:
        lives = watched(store.lives, profile)
        _clear(out)
        work = _Work(store.folder, out, profile, networks, batch)
        total = sum(life.queries for life in lives)
        done = 0
        results: dict[int, list[LifeResult]] = {}
        for each, result in over(partial(_score_shard, work), shard(lives), jobs, here=True):
            results[each.number] = result
            done += each.queries
            advance(done, total)
    return [each for number in sorted(results) for each in results[number]]


class Shard(NamedTuple):
    """Some lives that are scored together, and the number of the file that they become."""

    number: int
    lives: list[Life]

    @property
    def queries(self) -> int:
        """Count the queries."""
        return sum(life.queries for life in self.lives)


def shard(lives: Sequence[Life]) -> list[Shard]:
    """Cut lives, in their order, into shards of about equal numbers of queries.

    The largest come first: whatever is done last should not take long.
    """
    total = sum(life.queries for life in lives)
    target = min(_SHARD_QUERIES, -(-total // _SHARDS))
    shards: list[list[Life]] = [[]]
    size = 0
    for life in lives:
        if shards[-1] and size + life.queries > target:
            shards.append([])
            size = 0
        shards[-1].append(life)
        size += life.queries
    numbered = [Shard(number, part) for number, part in enumerate(shards)]
    return sorted(numbered, key=lambda each: -each.queries)


def _clear(out: Path) -> None:
    """Remove an earlier evaluation's parts; refuse a folder that holds somebody else's tables."""
    for table in ("scores", "verdicts"):
        present = list((out / table).rglob("*.parquet"))
        foreign = [path for path in present if not _PART.fullmatch(path.name)]
        if foreign:
            raise TraceError(f"{foreign[0]}: not written by an evaluation; choose another --out")
        for path in present:
            path.unlink()


def _score_shard(work: _Work, part: Shard) -> list[LifeResult]:
    """Score a shard's lives and write its file of each table."""
    store = TraceStore(work.store)
    featurizers = load_networks(work.profile, work.networks)
    results, scores, verdicts = [], [], []
    for life in part.lives:
        scored = score_life(work.profile, featurizers, life, store.stretches(life, work.batch))
        results.append(LifeResult(life, scored.tallies))
        scores.append(scored.scores)
        verdicts.extend(scored.verdicts)
    name = f"part-{part.number:05d}.parquet"
    write_parquet(pa.Table.from_batches(scores, schema=SCORES), work.out / "scores" / name)
    write_parquet(verdict_rows(verdicts), work.out / "verdicts" / name)
    return results
