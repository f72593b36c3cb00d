"""The sink's folder: how files are named, found, removed, and whose they are.

    DIR/sink.json                                              the consumer group that fills DIR
    DIR/<table>/date=YYYY-MM-DD/<topic>-<partition>-<first offset>.parquet
    DIR/rejected/<topic>-<partition>-<first offset>.jsonl      records that could not be read
    DIR/gaps/<topic>-<partition>-<first offset>.parquet        what had expired before it was read
    DIR/memory/<topic>-<partition>.parquet                     what a lane has to know to go on

The files of one batch are named by the batch's first offset. Those below the committed offset are
for good; those at or beyond it are left over from a crash, and are removed before the partition
is read again from the committed offset, in batches that may be cut elsewhere.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa

from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.files import make_folder, sync, temporary_for

DIGITS = 20  # enough for any 64-bit offset, so that names sort like offsets
REJECTED = "rejected"
GAPS = "gaps"
MEMORY = "memory"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rejected(NamedTuple):
    """A record that could not be read: where in it the fault is, and what it is."""

    offset: int
    path: str
    reason: str


class Numbered(NamedTuple):
    """A batch's file and the first offset in its name; they sort oldest first."""

    offset: int
    path: Path


class Partition(NamedTuple):
    """The files of one topic's partition below one folder."""

    folder: Path
    table: str
    topic: str
    partition: int

    def file(self, time: int, offset: int) -> Path:
        """Name the table file for a record's event time (microseconds) and a first offset."""
        day = (EPOCH + timedelta(microseconds=time)).date().isoformat()
        return self.folder / self.table / f"date={day}" / f"{self._stem}{offset:0{DIGITS}}.parquet"

    def rejected(self, offset: int) -> Path:
        """Name the file of a batch's rejected records."""
        return self.folder / REJECTED / f"{self._stem}{offset:0{DIGITS}}.jsonl"

    def gap(self, offset: int) -> Path:
        """Name the file of the gap that begins at an offset."""
        return self.folder / GAPS / f"{self._stem}{offset:0{DIGITS}}.parquet"

    @property
    def memory(self) -> Path:
        """Name the file of what a lane has to know to go on."""
        return self.folder / MEMORY / f"{self.topic}-{self.partition}.parquet"

    def files(self) -> list[Numbered]:
        """List its table files, oldest first."""
        return self._numbered(self._days(), "parquet")

    def others(self) -> list[Numbered]:
        """List its files of rejected records and of gaps."""
        rejected = self._numbered([self.folder / REJECTED], "jsonl")
        return rejected + self._numbered([self.folder / GAPS], "parquet")

    def sweep(self) -> None:
        """Remove half-written files: whoever is still about to rename them cannot do so any more.

        What is renamed before is there for all to see once this has returned.
        """
        batch = rf"\.{re.escape(self._stem)}\d{{{DIGITS}}}\.(parquet|jsonl)\..*\.tmp"
        memory = rf"\.{re.escape(self.memory.name)}\..*\.tmp"
        folders = [*self._days(), self.folder / REJECTED, self.folder / GAPS]
        forget(path for path, _ in _names(folders, batch))
        forget(path for path, _ in _names([self.memory.parent], memory))

    def _numbered(self, folders: Iterable[Path], suffix: str) -> list[Numbered]:
        found = _names(folders, rf"{re.escape(self._stem)}(\d{{{DIGITS}}})\.{suffix}")
        return sorted(Numbered(int(name[1]), path) for path, name in found)

    @property
    def _stem(self) -> str:
        return f"{self.topic}-{self.partition}-"

    def _days(self) -> list[Path]:
        return [path for path, _ in _names([self.folder / self.table], "date=.*")]


def _names(folders: Iterable[Path], pattern: str) -> Iterator[tuple[Path, re.Match[str]]]:
    """Find what is named by a pattern; a folder may have a million files, most of them others'."""
    wanted = re.compile(pattern)
    for folder in folders:
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                name = wanted.fullmatch(entry.name)
                if name is not None:
                    yield folder / entry.name, name


def identity(path: Path) -> tuple[int, int, int] | None:
    """Tell a file from another one that takes its place; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


def forget(paths: Iterable[Path]) -> None:
    """Remove files for good."""
    folders = set()
    for path in list(paths):
        path.unlink(missing_ok=True)
        folders.add(path.parent)
    for folder in folders:
        sync(folder)


class Drafts:
    """Files that are written beside their places and moved there together, or not at all.

    Between the two there is time to ask whether they may be. At the end of its block those that
    were not moved are removed.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._paths: dict[Path, Path] = {}

    def __enter__(self) -> Self:
        """Do nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is not in its place."""
        for temporary in self._paths:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    @contextmanager
    def add(self, path: Path) -> Iterator[Path]:
        """Give a temporary path to write to; `TraceError` if that cannot be done."""
        temporary = temporary_for(path)
        with _told(path):
            make_folder(path.parent)
            self._paths[temporary] = path
            yield temporary
            sync(temporary)

    def publish(self) -> bool:
        """Move all to their places; false if one has been swept away, `TraceError` for the rest."""
        for temporary, path in self._paths.items():
            with _told(path):
                try:
                    temporary.replace(path)
                except FileNotFoundError:
                    return False
        for folder in {path.parent for path in self._paths}:
            with _told(folder):
                sync(folder)
        return True


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise TraceError(f"{path}: cannot be written: {error}") from error


def group_of(folder: Path, app_id: str) -> str:
    """Name the consumer group that fills the folder, drawing one for a new folder.

    A group of its own per folder: what is committed is what the folder holds, wherever it is
    mounted, and a second folder is filled from the beginning. Raises `TraceError`.
    """
    path = folder / "sink.json"
    try:
        if not path.exists():
            _draw(path, f"{app_id}-sink-{uuid.uuid4().hex[:12]}")
        group = json.loads(path.read_text(encoding="utf-8"))["group"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TraceError(
            f"{path}: not the sink's own ({error}); use another folder for --out"
        ) from error
    if not isinstance(group, str):
        raise TraceError(f"{path}: its group is not a text; use another folder for --out")
    return group


def _draw(path: Path, group: str) -> None:
    """Write a folder's group down, unless another sink has done so first."""
    with Drafts() as drafts:
        with drafts.add(path) as temporary:
            temporary.write_text(json.dumps({"group": group}), encoding="utf-8")
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
        sync(path.parent)
