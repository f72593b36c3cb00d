"""Lanes: from the records of one partition of a topic to rows of its table, each row once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gamekeeper.schemas.errors import SchemaError, TraceError
from gamekeeper.schemas.event import QueryEvent, decode_event, event_key
from gamekeeper.schemas.order import is_order
from gamekeeper.schemas.tables import many_query_rows, score_rows, verdict_rows, write_parquet
from gamekeeper.schemas.verdict import decode_verdict
from gamekeeper.stream.dead_letters import WrongKeyError
from gamekeeper.stream.scores import decode_scores
from gamekeeper.stream.sink_files import Partition, Rejected

# What is remembered of a partition to tell doubles, newest first forgotten last. The worker sends
# a verdict again after a crash at once, or when its state is rebuilt from the queries: as many as
# a retention period's worth. Scores come again at once or never.
VERDICT_IDS: Final = 2_000_000
SCORE_KEYS: Final = 200_000
# What row making raises for a record that passed its own checks but does not fit a column.
MISFITS: Final = (ValueError, TypeError, OverflowError, RecursionError, pa.ArrowException)


class Record(NamedTuple):
    """What the sink keeps of a Kafka record until its batch is written."""

    offset: int
    key: bytes | None
    value: bytes | None


class Row(NamedTuple):
    """What one record becomes: its event time in microseconds, and what rows are made of."""

    time: int
    content: Any


class Lane(ABC):
    """One partition's way into its table."""

    table: ClassVar[str]

    def __init__(self, files: Partition, start: int) -> None:
        """Open the lane at an offset, remembering what the files below it hold."""
        self.files = files
        self.start = start
        self.records: list[Record] = []
        self.restore(files.files(below=start))

    @property
    def next(self) -> int:
        """The offset after the last record taken."""
        return self.records[-1].offset + 1 if self.records else self.start

    def done(self) -> None:
        """Forget the records taken: they are written and committed."""
        self.start, self.records = self.next, []

    def write(self) -> tuple[int, int]:
        """Write the records taken; return the numbers of rows and of rejected records.

        Raises `TraceError` where the folder cannot be written.
        """
        first = self.records[0].offset
        days, rejected = self._rows()
        for path, rows in days.items():
            write_parquet(rows, path)
        if rejected:
            self.files.reject(first, rejected)
        return sum(rows.num_rows for rows in days.values()), len(rejected)

    def _rows(self) -> tuple[dict[Path, pa.Table], list[Rejected]]:
        first = self.records[0].offset
        contents: defaultdict[Path, list[Any]] = defaultdict(list)
        rejected = []
        for record in self.records:
            if record.value is None:
                continue  # a tombstone: somebody had the key's records deleted
            try:
                row = self.read(record, record.value)
                if row is not None:
                    contents[self.files.file(row.time, first)].append(row.content)
            except SchemaError as error:
                rejected.append(Rejected(record.offset, error.path, error.reason))
            except MISFITS as error:
                rejected.append(Rejected(record.offset, "$", f"{type(error).__name__}: {error}"))
        return {path: self.rows(each) for path, each in contents.items()}, rejected

    @abstractmethod
    def restore(self, files: Sequence[Path]) -> None:
        """Remember what is needed of the rows written so far."""

    @abstractmethod
    def read(self, record: Record, value: bytes) -> Row | None:
        """Check a record and remember it; None for a double, `SchemaError` for a broken one."""

    @abstractmethod
    def rows(self, contents: list[Any]) -> pa.Table:
        """Make the rows of what `read` returned, in its order."""


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


class VerdictLane(Lane):
    """Verdicts: the worker may send one again after a crash, so each id is taken once."""

    table = "verdicts"

    def restore(self, files: Sequence[Path]) -> None:
        """Remember the ids."""
        self._seen = Recent(VERDICT_IDS)
        for rows in _columns(files, ["id"]):
            for uid in rows["id"].to_pylist():
                self._seen.add(uid)

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

    def restore(self, files: Sequence[Path]) -> None:
        """Remember the queries that have scores, of the newest files."""
        self._seen = Recent(SCORE_KEYS)
        columns = ["account", "model", "query", "time"]
        for rows in _columns(_newest(files, SCORE_KEYS), columns):
            microseconds = rows["time"].cast(pa.int64()).to_pylist()
            names = (rows[name].to_pylist() for name in columns[:3])
            for key in zip(*names, microseconds, strict=True):
                self._seen.add(key)

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

    def restore(self, files: Sequence[Path]) -> None:
        """Count each account's queries to each model."""
        self._counts: dict[tuple[str, str], int] = {}
        for rows in _columns(files, ["account", "model", "query"]):
            last = rows.group_by(["account", "model"]).aggregate([("query", "max")])
            for row in last.to_pylist():
                key = (row["account"], row["model"])
                self._counts[key] = max(self._counts.get(key, 0), row["query_max"] + 1)

    def read(self, record: Record, value: bytes) -> Row | None:
        """Decode an event and number its queries."""
        if is_order(value):
            return None
        event = decode_event(value)
        if record.key != event_key(event.account):
            raise WrongKeyError("$.account", "is not the record's key; key events by their account")
        key = (event.account, event.model)
        first = self._counts.get(key, 0)
        self._counts[key] = first + len(event)
        return Row(event.time, (event, first))

    def rows(self, contents: list[tuple[QueryEvent, int]]) -> pa.Table:
        """Make the rows of many events at once."""
        events, firsts = zip(*contents, strict=True)
        return pa.Table.from_batches([many_query_rows(events, firsts)])


def _columns(files: Iterable[Path], names: list[str]) -> Iterator[pa.Table]:
    for path in files:
        try:
            yield pq.read_table(path, columns=names, partitioning=None)
        except (OSError, KeyError, pa.ArrowException) as error:
            raise TraceError(
                f"{path}: cannot be read ({error}); move it away, or use another folder for --out"
            ) from error


def _newest(files: Sequence[Path], rows: int) -> list[Path]:
    """Choose the newest files that hold a number of rows, oldest of them first."""
    chosen: list[Path] = []
    for path in reversed(files):
        if rows <= 0:
            break
        chosen.insert(0, path)
        rows -= pq.read_metadata(path).num_rows
    return chosen
