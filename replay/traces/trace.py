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

from gamekeeper.replay.traces.store import Contents, Life, Rows, decode, file_of
from gamekeeper.replay.traces.tracefiles import SAMPLE, SAMPLE_NAME, trace_files
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables import QUERIES, events_from_rows

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

_BLOCK_ROW = re.compile(r"^row \d+, ")
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

    def life(self, life: Life) -> Iterator[TraceEvent]:
        """Read one life, query after query."""
        return self._read(np.arange(life.start, life.start + life.queries))

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
        try:
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
        except TraceError as error:
            first, path = file_of(self._files, int(rows[at]))
            reason = _BLOCK_ROW.sub("", str(error))  # counted within the block, not in the file
            raise TraceError(f"{path}: row {int(rows[at]) - first}: {reason}") from error

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
