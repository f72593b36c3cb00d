"""The lanes of the three tables: verdicts, scores and queries, each row once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gamekeeper.schemas.event import QueryEvent, check_key, decode_event
from gamekeeper.schemas.order import is_order
from gamekeeper.schemas.scores import decode_scores
from gamekeeper.schemas.tables import many_query_rows, score_rows, verdict_rows
from gamekeeper.schemas.verdict import decode_verdict
from gamekeeper.stream.sink.files import Partition
from gamekeeper.stream.sink.lane import Lane, Record, Row

# What is remembered of a partition to tell doubles, newest first forgotten last. The worker sends
# a verdict again after a crash at once, or when its state is rebuilt from the queries: as many as
# a retention period's worth. Scores come again at once or never.
VERDICT_IDS: Final = 2_000_000
SCORE_KEYS: Final = 200_000


class Recent:
    """The last keys seen, a bounded number of them."""

    def __init__(self, limit: int) -> None:
        """Start without any."""
        self._limit = limit
        self._keys: dict[Any, None] = {}

    def add(self, key: Any) -> bool:
        """Remember a key; false if it was there already."""
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self._limit:
            del self._keys[next(iter(self._keys))]
        return True

    def __iter__(self) -> Iterator[Any]:
        """Give the keys, oldest first."""
        return iter(self._keys)


class VerdictLane(Lane):
    """Verdicts: the worker may send one again after a crash, so each id is taken once."""

    table = "verdicts"
    columns: ClassVar = ["id"]

    def __init__(self, files: Partition, start: int) -> None:
        """Begin without ids."""
        super().__init__(files, start)
        self._seen = Recent(VERDICT_IDS)

    def recall(self, rows: pa.Table) -> None:
        """Remember the ids."""
        for uid in rows["id"].to_pylist():
            self._seen.add(uid)

    def known(self) -> dict[str, Any]:
        """Give the ids."""
        return {"id": list(self._seen)}

    def read(self, record: Record, value: bytes) -> Row | None:
        """Decode a verdict."""
        verdict = decode_verdict(value)
        place = (self.files.topic, self.files.partition, record.offset)
        rows = verdict_rows([verdict], [place])
        return Row(verdict.last_time, rows) if self._seen.add(verdict.id) else None

    def rows(self, contents: list[Any]) -> pa.Table:
        """Put the rows together."""
        return pa.Table.from_batches(contents)


class ScoreLane(Lane):
    """Scores: like verdicts, known by account, model, first query and time."""

    table = "scores"
    columns: ClassVar = ["account", "model", "query", "time"]

    def __init__(self, files: Partition, start: int) -> None:
        """Begin without keys."""
        super().__init__(files, start)
        self._seen = Recent(SCORE_KEYS)

    def telling(self, files: list[Path]) -> list[Path]:
        """Choose the newest files: there are many scores, and few have to be known."""
        return _newest(files, SCORE_KEYS)

    def recall(self, rows: pa.Table) -> None:
        """Remember the queries that have scores."""
        microseconds = rows["time"].cast(pa.int64()).to_pylist()
        names = (rows[name].to_pylist() for name in self.columns[:3])
        for key in zip(*names, microseconds, strict=True):
            self._seen.add(key)

    def known(self) -> dict[str, Any]:
        """Give the queries that have scores."""
        keys = list(self._seen)
        return {name: [key[at] for key in keys] for at, name in enumerate(self.columns)}

    def read(self, record: Record, value: bytes) -> Row | None:
        """Decode an event's scores."""
        scores = decode_scores(value)
        statistics = {
            name: np.array([np.nan if value is None else value for value in values], np.float64)
            for name, values in scores.statistics.items()
        }
        rows = score_rows(scores.account, scores.model, scores.query, scores.time, statistics)
        key = (scores.account, scores.model, scores.query, scores.time)
        return Row(scores.time, rows) if self._seen.add(key) else None

    def rows(self, contents: list[Any]) -> pa.Table:
        """Put the rows together."""
        return pa.Table.from_batches(contents)


class QueryLane(Lane):
    """Queries, numbered from 0 within their account and model, in the partition's order.

    The same events as the worker's are refused, so the numbers are the worker's, too, as long as
    both have read the partition from its beginning.
    """

    table = "queries"
    columns: ClassVar = ["account", "model", "query"]

    def __init__(self, files: Partition, start: int) -> None:
        """Begin with all counts at 0."""
        super().__init__(files, start)
        self._counts: dict[tuple[str, str], int] = {}

    def recall(self, rows: pa.Table) -> None:
        """Count each account's queries to each model."""
        last = rows.group_by(["account", "model"]).aggregate([("query", "max")])
        names = (last[name].to_pylist() for name in ("account", "model", "query_max"))
        for account, model, query in zip(*names, strict=True):
            key = (account, model)
            self._counts[key] = max(self._counts.get(key, 0), query + 1)

    def known(self) -> dict[str, Any]:
        """Give each account's last query to each model."""
        return {
            "account": [account for account, _ in self._counts],
            "model": [model for _, model in self._counts],
            "query": [count - 1 for count in self._counts.values()],
        }

    def read(self, record: Record, value: bytes) -> Row | None:
        """Decode an event and number its queries."""
        if is_order(value):
            return None
        event = decode_event(value)
        check_key(record.key, event.account)
        key = (event.account, event.model)
        first = self._counts.get(key, 0)
        self._counts[key] = first + len(event)
        return Row(event.time, (event, first))

    def rows(self, contents: list[tuple[QueryEvent, int]]) -> pa.Table:
        """Make the rows of many events at once."""
        events, firsts = zip(*contents, strict=True)
        return pa.Table.from_batches([many_query_rows(events, firsts)])


def _newest(files: Sequence[Path], rows: int) -> list[Path]:
    """Choose the newest files that hold a number of rows, oldest of them first."""
    chosen: list[Path] = []
    for path in reversed(files):
        if rows <= 0:
            break
        chosen.insert(0, path)
        rows -= pq.read_metadata(path).num_rows
    return chosen
