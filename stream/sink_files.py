"""The sink's folder: how files are named, found, removed, and whose they are.

    DIR/sink.json                                              the consumer group that fills DIR
    DIR/<table>/date=YYYY-MM-DD/<topic>-<partition>-<first offset>.parquet
    DIR/rejected/<topic>-<partition>-<first offset>.jsonl      records that could not be read

The files of one batch are named by the batch's first offset. Those below the committed offset are
for good; those at or beyond it are left over from a crash, and are removed before the partition
is read again from the committed offset, in batches that may be cut elsewhere.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from gamekeeper.schemas.errors import TraceError

DIGITS = 20  # enough for any 64-bit offset, so that names sort like offsets
REJECTED = "rejected"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rejected(NamedTuple):
    """A record that could not be read: where in it the fault is, and what it is."""

    offset: int
    path: str
    reason: str


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

    def files(self, below: int | None = None) -> list[Path]:
        """List its table files, oldest first; only those whose first offset is below a number."""
        found = (self.folder / self.table).glob(f"date=*/{self._stem}*.parquet")
        numbered = [(self._offset(path), path) for path in found]
        return [
            path
            for offset, path in sorted(numbered, key=lambda pair: (pair[0] or 0, pair[1]))
            if offset is not None and (below is None or offset < below)
        ]

    def forget(self, offset: int) -> None:
        """Remove what a crash left: files from the offset on, and half-written ones."""
        kept = set(self.files(below=offset))
        doubtful = [path for path in self.files() if path not in kept]
        doubtful += [path for path in self._rejected() if (self._offset(path) or 0) >= offset]
        doubtful += (self.folder / self.table).glob(f"date=*/.{self._stem}*.tmp")
        doubtful += (self.folder / REJECTED).glob(f".{self._stem}*.tmp")
        for path in doubtful:
            path.unlink(missing_ok=True)

    def reject(self, offset: int, rejected: Sequence[Rejected]) -> None:
        """Write down a batch's unreadable records, as JSON lines; `TraceError` if it cannot."""
        place = {"topic": self.topic, "partition": self.partition}
        lines = [json.dumps({**place, **record._asdict()}) + "\n" for record in rejected]
        path = self.folder / REJECTED / f"{self._stem}{offset:0{DIGITS}}.jsonl"
        _write(path, "".join(lines))

    @property
    def _stem(self) -> str:
        return f"{self.topic}-{self.partition}-"

    def _offset(self, path: Path) -> int | None:
        """Read the first offset out of a name; None in the name of another topic's file."""
        digits = path.stem.removeprefix(self._stem)
        return int(digits) if digits.isdecimal() and len(digits) == DIGITS else None

    def _rejected(self) -> list[Path]:
        found = (self.folder / REJECTED).glob(f"{self._stem}*.jsonl")
        return [path for path in found if self._offset(path) is not None]


def group_of(folder: Path, app_id: str) -> str:
    """Name the consumer group that fills the folder, drawing one for a new folder.

    A group of its own per folder: what is committed is what the folder holds, wherever it is
    mounted, and a second folder is filled from the beginning. Raises `TraceError`.
    """
    path = folder / "sink.json"
    try:
        if not path.exists():
            _write(path, json.dumps({"group": f"{app_id}-sink-{uuid.uuid4().hex[:12]}"}), new=True)
        group = json.loads(path.read_text(encoding="utf-8"))["group"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TraceError(
            f"{path}: not the sink's own ({error}); use another folder for --out"
        ) from error
    if not isinstance(group, str):
        raise TraceError(f"{path}: its group is not a text; use another folder for --out")
    return group


def _write(path: Path, text: str, *, new: bool = False) -> None:
    """Write a file whole or not at all; with `new`, the first of several writers wins."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if not new:
                temporary.replace(path)
            elif not path.exists():
                path.hardlink_to(temporary)
        except FileExistsError:
            return
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise TraceError(f"{path}: cannot be written: {error}") from error
