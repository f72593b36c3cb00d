"""A lane: how the records of one partition become rows, and how it goes on after a restart."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from gamekeeper.schemas.errors import SchemaError, TraceError
from gamekeeper.schemas.tables import TABLES, write_rows
from gamekeeper.stream.sink.files import Drafts, Numbered, Partition, Rejected

# How many files a lane's memory may be behind: that many are read at the next start, 2 ms each.
FILES_BEHIND: Final = 100
OFFSET: Final = b"offset"
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


class Count(NamedTuple):
    """What a batch's files hold of a lane."""

    rows: int
    rejected: int


class Lane(ABC):
    """One partition's way into its table.

    It takes records, writes them, or as many as make no more than some files, and is told when what
    is written is committed. Up to where that goes is `end`; it is `cut` where records are left.

    What it has to know of the rows below its start is in its memory: a file that is written now
    and then, never of more than is committed. So the memory may be old, but is always right: the
    files that came after it tell the rest. A lane is `fresh` until its first file is written, which
    nobody should have to wait for, and `passed` where its next records have expired.
    """

    table: ClassVar[str]
    columns: ClassVar[list[str]]

    def __init__(self, files: Partition, start: int) -> None:
        """Make the lane at an offset; go through `restore` before taking records."""
        self.files = files
        self.start = self.end = start
        self.records: list[Record] = []
        self.bytes = 0
        self.since = time.monotonic()
        self.fresh = True
        self.cut = self.passed = False
        self._reached = start
        self._behind = 0

    @property
    def next(self) -> int:
        """The offset after the last record taken and after what follows it and is no record.

        Markers of transactions, and what was aborted, use up offsets that nobody is given.
        """
        taken = self.records[-1].offset + 1 if self.records else self.start
        return max(taken, self._reached)

    @property
    def pending(self) -> bool:
        """Whether there is something to be written or committed, first taken at `since`."""
        return self.next > self.start

    def take(self, record: Record) -> None:
        """Take the next record; one that has been taken before is left."""
        if record.offset >= self.next:
            self._begin()
            self.records.append(record)
            self.bytes += len(record.value or b"")

    def advance(self, position: int) -> None:
        """Note up to which offset the partition has been read, which may be no record's."""
        if position > self.next:
            self._begin()
            self._reached = position

    def _begin(self) -> None:
        if not self.pending:
            self.since = time.monotonic()

    def restore(self, files: Sequence[Numbered]) -> Iterator[None]:
        """Remember what the memory and the files after it hold, a file between two yields.

        Raises `TraceError` where one cannot be read.
        """
        offset, rows = self._memory()
        self.fresh = not (files or offset)
        self.recall(rows)
        for path in self.telling([each.path for each in files if each.offset >= offset]):
            yield
            self.recall(_read(path, self.columns))
            self._behind += 1
        self.remember()

    def remember(self) -> None:
        """Write the memory, if it is far behind; all that was taken has to be committed."""
        if self._behind < FILES_BEHIND:
            return
        schema = self._schema.with_metadata({OFFSET: str(self.start)})
        rows = pa.Table.from_pydict(self.known(), schema=schema)
        with Drafts() as drafts:
            with drafts.add(self.files.memory) as temporary:
                write_rows(rows, temporary)
            # Where it has been swept away, the partition is another sink's, and so is its memory.
            drafts.publish()
        self._behind = 0

    def write(self, drafts: Drafts, most: int) -> Count:
        """Draft the files of the records taken, or of as many of the first as make `most` days.

        Raises `TraceError` where the folder cannot be written.
        """
        days, rejected = self._rows(most)
        for path, rows in days.items():
            with drafts.add(path) as temporary:
                write_rows(rows, temporary)
        if rejected:
            with drafts.add(self.files.rejected(self.records[0].offset)) as temporary:
                temporary.write_text(self._lines(rejected), encoding="utf-8")
        self._behind += len(days)
        return Count(sum(rows.num_rows for rows in days.values()), len(rejected))

    def done(self) -> None:
        """Forget the records up to `end`: they are written and committed."""
        self.fresh = self.fresh and not self.records
        self.start = self.end
        self.records = [record for record in self.records if record.offset >= self.end]
        self.bytes = sum(len(record.value or b"") for record in self.records)
        self.cut = bool(self.records)
        self.remember()

    @property
    def _schema(self) -> pa.Schema:
        return pa.schema([TABLES[self.table].field(name) for name in self.columns])

    def _memory(self) -> tuple[int, pa.Table]:
        """Read up to which offset the memory goes, and what it holds; nothing, if it is absent."""
        if not self.files.memory.exists():
            return 0, self._schema.empty_table()
        # In one go: one that is as right, but older, may take its place at any time.
        rows = _read(self.files.memory, self.columns)
        with _told(self.files.memory):
            return _offset(rows.schema), rows

    def _lines(self, rejected: Sequence[Rejected]) -> str:
        place = {"topic": self.files.topic, "partition": self.files.partition}
        return "".join(json.dumps({**place, **each._asdict()}) + "\n" for each in rejected)

    def _rows(self, most: int) -> tuple[dict[Path, pa.Table], list[Rejected]]:
        first = self.records[0].offset if self.records else self.start
        contents: defaultdict[Path, list[Any]] = defaultdict(list)
        rejected = []
        self.end = self.next
        for record in self.records:
            if len(contents) == most:
                self.end = record.offset
                break
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

    def telling(self, files: list[Path]) -> list[Path]:
        """Choose the files that tell what has to be known: all of them."""
        return files

    @abstractmethod
    def recall(self, rows: pa.Table) -> None:
        """Remember what is needed of rows written before, oldest first."""

    @abstractmethod
    def known(self) -> dict[str, Any]:
        """Give all that is remembered, as `columns` that `recall` understands."""

    @abstractmethod
    def read(self, record: Record, value: bytes) -> Row | None:
        """Check a record and remember it; None for a double, `SchemaError` for a broken one."""

    @abstractmethod
    def rows(self, contents: list[Any]) -> pa.Table:
        """Make the rows of what `read` returned, in its order."""


def memory_offset(files: Partition) -> int | None:
    """Say up to which offset a partition's memory goes; None where there is none."""
    if not files.memory.exists():
        return None
    with _told(files.memory):
        return _offset(pq.read_schema(files.memory))


def _offset(schema: pa.Schema) -> int:
    return int((schema.metadata or {})[OFFSET])


def _read(path: Path, names: list[str]) -> pa.Table:
    with _told(path):
        return pq.read_table(path, columns=names, partitioning=None)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise TraceError(
            f"{path}: cannot be read ({error}); move it away, or use another folder for --out"
        ) from error
