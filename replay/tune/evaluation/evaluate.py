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
from gamekeeper.replay.tune.processes import over_shards
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
        shards = shard(lives)
        total = sum(life.queries for life in lives)
        done = 0
        results: dict[int, list[LifeResult]] = {}
        for number, result in over_shards(partial(_score_shard, work), shards, jobs):
            results[number] = result
            done += sum(each.life.queries for each in result)
            advance(done, total)
    return [each for number in sorted(results) for each in results[number]]


def shard(lives: Sequence[Life]) -> list[list[Life]]:
    """Cut lives, in their order, into shards of about equal numbers of queries."""
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
    return shards


def _clear(out: Path) -> None:
    """Remove an earlier evaluation's parts; refuse a folder that holds somebody else's tables."""
    for table in ("scores", "verdicts"):
        present = list((out / table).rglob("*.parquet"))
        foreign = [path for path in present if not _PART.fullmatch(path.name)]
        if foreign:
            raise TraceError(f"{foreign[0]}: not written by an evaluation; choose another --out")
        for path in present:
            path.unlink()


def _score_shard(work: _Work, number: int, lives: Sequence[Life]) -> list[LifeResult]:
    """Score a shard's lives and write its file of each table."""
    store = TraceStore(work.store)
    featurizers = load_networks(work.profile, work.networks)
    results, scores, verdicts = [], [], []
    for life in lives:
        scored = score_life(work.profile, featurizers, life, store.stretches(life, work.batch))
        results.append(LifeResult(life, scored.tallies))
        scores.append(scored.scores)
        verdicts.extend(scored.verdicts)
    part = f"part-{number:05d}.parquet"
    write_parquet(pa.Table.from_batches(scores, schema=SCORES), work.out / "scores" / part)
    write_parquet(verdict_rows(verdicts), work.out / "verdicts" / part)
    return results
