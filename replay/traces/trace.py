"""Traces of any size, read by time or life by life, with a bounded amount of memory.

A trace's files may hold its rows in any order. They are decoded once into one uncompressed,
memory-mapped file in a temporary folder (`TMPDIR` says where; about as large as the trace's
tensors), from which several processes then read in any order. What stays in memory is some
32 bytes per query.

A **life** is one account's queries to one model in one trace; they count from 0 without a gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from gamekeeper.detectors.base import EMBEDDING, Batch
from gamekeeper.detectors.engine import Source, Stretch
from gamekeeper.replay.traces.store import Contents, Life, Rows, decode, file_of
from gamekeeper.replay.traces.tracefiles import SAMPLE, SAMPLE_NAME, trace_files
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.event import DEFAULT_LIMITS, QueryEvent
from gamekeeper.schemas.tables import (
    QUERIES,
    arrays_from_rows,
    event_starts,
    events_from_rows,
)

__all__ = [
    "SAMPLE",
    "SAMPLE_NAME",
    "Life",
    "TraceEvent",
    "TraceStore",
    "open_trace",
    "read_trace",
    "trace_files",
]

_ROW = re.compile(r"^row (\d+)[,:] ")
_BLOCK = 256  # rows that are put together at once: the unit of memory


class TraceEvent(NamedTuple):
    """An event of a trace with what is known of it.

    `first` is the index of its first query in its life, `synthetic` and `round` have one entry
    per query. `due` (us) is when it is to be played: its time, or that of the life's latest
    earlier event if clocks disagreed, so that the order of a life is kept.
    """

    event: QueryEvent
    first: int
    trace: str
    kind: str | None
    synthetic: list[bool | None]
    round: list[int | None]
    due: int


def read_trace(paths: Iterable[Path | str]) -> Iterator[TraceEvent]:
    """Read traces (files, folders or `sample`) as events in the order of time.

    Raises `TraceError`, with the file and the fault, on what is not a trace.
    """
    with open_trace(paths) as store:
        yield from store.events()


@contextmanager
def open_trace(paths: Iterable[Path | str]) -> Iterator[TraceStore]:
    """Decode traces into a temporary store, which is gone at the end of the block.

    Raises `TraceError`, with the file and the fault, on what is not a trace.
    """
    files = trace_files(paths)
    with TemporaryDirectory(prefix="gamekeeper-trace-") as folder:
        try:
            decode(Path(folder), files)
        except OSError as error:
            raise TraceError(
                f"{folder}: the trace cannot be decoded there: {error}; point TMPDIR to a disk "
                "with room"
            ) from error
        yield TraceStore(Path(folder))


class TraceStore:
    """Decoded traces in a folder, which any number of processes may read at once."""

    def __init__(self, folder: Path) -> None:
        """Map a folder that `open_trace` has filled."""
        self.folder = folder
        contents = msgspec.json.decode((folder / "contents.json").read_bytes(), type=Contents)
        self.lives = contents.lives
        self._files = contents.files
        self._order: Rows = np.load(folder / "order.npy", mmap_mode="r")
        self._due: Rows = np.load(folder / "due.npy", mmap_mode="r")
        self._starts: Rows = np.load(folder / "starts.npy")
        reader = pa.ipc.open_file(pa.memory_map(str(folder / "rows.arrow")))
        self._batch = lru_cache(maxsize=256)(reader.get_batch)

    def __len__(self) -> int:
        """Count the queries."""
        return len(self._order)

    def stretches(self, life: Life, size: int) -> Iterator[Stretch]:
        """Read one life as arrays: whole events, in stretches of about `size` queries at most.

        An event longer than that is a stretch of its own. An event's source is the trace, with its
        number in the life. Raises `TraceError`, with the file and the row, on faulty rows.
        """
        begin, take, number = life.start, size, 0
        end = life.start + life.queries
        while begin < end:
            rows = self._order[begin : min(begin + take, end)]
            table = self._table(rows)
            whole = len(rows) if begin + take >= end else int(event_starts(_only(table))[-1])
            if not whole and take <= DEFAULT_LIMITS.max_rows:
                take *= 2  # its first event goes on
                continue
            for stretch in self._stretches(table.slice(0, whole or None), rows, life, number):
                yield stretch
                number += len(stretch.sources)
            begin, take = begin + whole, size

    def _stretches(self, table: pa.Table, rows: Rows, life: Life, number: int) -> Iterator[Stretch]:
        first = int(table["query"][0].as_py())
        with self._faults_located(rows):
            runs = arrays_from_rows(table)
        for run in runs:
            events = len(run.starts) - 1
            features = {} if run.embedding is None else {EMBEDDING: run.embedding}
            batch = Batch(first, run.inputs, run.labels, run.probabilities, features, run.times)
            sources = [Source(life.trace, 0, number + each) for each in range(events)]
            yield Stretch((life.account, life.model), batch, sources, run.starts)
            first, number = first + len(batch), number + events

    def events(self) -> Iterator[TraceEvent]:
        """Read everything by time; what is due at the same moment comes life by life."""
        return self._read(np.argsort(self._due, kind="stable"))

    def _read(self, places: Rows) -> Iterator[TraceEvent]:
        """Read what lies at the places (positions in the store), block by block.

        A block's last event may go on in the next block, so it is left to that one.
        """
        starts = np.array([life.start for life in self.lives])
        begin, size = 0, _BLOCK
        while begin < len(places):
            block = places[begin : begin + size]
            events = list(self._events(block, starts))
            if begin + size < len(places):
                events.pop()
            begin += sum(len(each.event) for each in events)
            size = _BLOCK if events else 2 * size
            yield from events

    def _events(self, places: Rows, starts: Rows) -> Iterator[TraceEvent]:
        rows = self._order[places]
        table = self._table(rows)
        owners = (np.searchsorted(starts, places, side="right") - 1).tolist()
        due = self._due[places].tolist()
        synthetic = table["synthetic"].to_pylist()
        rounds = table["round"].to_pylist()
        at = 0
        with self._faults_located(rows):
            for event in events_from_rows(table):
                life, end = self.lives[owners[at]], at + len(event)
                yield TraceEvent(
                    event=event,
                    first=int(places[at]) - life.start,
                    trace=life.trace,
                    kind=life.kind,
                    synthetic=synthetic[at:end],
                    round=rounds[at:end],
                    due=due[at],
                )
                at = end

    @contextmanager
    def _faults_located(self, rows: Rows) -> Iterator[None]:
        """Name file and row of a fault that was counted among `rows` of the store."""
        try:
            yield
        except TraceError as error:
            found = _ROW.match(str(error))
            row = int(rows[int(found[1]) if found else 0])
            first, path = file_of(self._files, row)
            reason = _ROW.sub("", str(error))
            raise TraceError(f"{path}: row {row - first}: {reason}") from error

    def _table(self, rows: Rows) -> pa.Table:
        """Copy rows together from slices of the memory-mapped batches."""
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        cuts = np.flatnonzero((np.diff(rows) != 1) | (np.diff(numbers) != 0)) + 1
        begins = np.concatenate([[0], cuts])
        ends = np.concatenate([cuts, [len(rows)]])
        parts = [
            self._batch(number).slice(int(rows[begin]) - int(self._starts[number]), end - begin)
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
            for number in [int(numbers[begin])]
        ]
        return pa.Table.from_batches(parts, schema=QUERIES).combine_chunks()


def _only(table: pa.Table) -> pa.RecordBatch:
    """Give the one batch of a table whose chunks are combined."""
    [batch] = table.to_batches()
    return batch
