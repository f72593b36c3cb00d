"""Traces decoded into a folder from which rows can be read in any order.

`rows.arrow` holds the rows as they came, uncompressed, to be memory-mapped; `order.npy` the rows'
numbers sorted by life and query; `due.npy`, in that order, when each is to be played (us);
`starts.npy` the first row of each of Arrow's batches; `contents.json` the lives and the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gamekeeper.replay.traces.tracefiles import TraceFile, read_batches
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.tables import QUERIES

Rows = NDArray[np.int64]


class Life(msgspec.Struct, frozen=True, array_like=True):
    """One account's queries to one model in one trace; `start` is where they lie in the store."""

    trace: str
    account: str
    model: str
    kind: str | None
    start: int
    queries: int


class Contents(msgspec.Struct):
    """What a store's folder holds: the lives, and each file with its first row."""

    lives: list[Life]
    files: list[tuple[int, str]]


class _Index:
    """What is noted of every row while the files are decoded."""

    def __init__(self) -> None:
        self.files: list[tuple[int, str]] = []
        self.starts: list[int] = []
        self.rows = 0
        self.keys: dict[tuple[str, str, str], int] = {}
        self.kinds: list[str | None] = []
        self.lives: list[Rows] = []
        self.queries: list[Rows] = []
        self.times: list[Rows] = []

    def note(self, file: TraceFile, batch: pa.RecordBatch) -> None:
        self.starts.append(self.rows)
        self.rows += batch.num_rows
        self.lives.append(np.array(self._lives(file, batch), np.int64))
        self.queries.append(batch["query"].to_numpy())
        self.times.append(batch["time"].cast(pa.int64()).to_numpy())

    def _lives(self, file: TraceFile, batch: pa.RecordBatch) -> list[int]:
        names = [batch[name].to_pylist() for name in ("trace", "account", "model", "kind")]
        lives = []
        for trace, account, model, kind in zip(*names, strict=True):
            life = self.keys.setdefault((trace, account, model), len(self.keys))
            if life == len(self.kinds):
                self.kinds.append(kind)
            elif kind != self.kinds[life]:
                raise TraceError(
                    f"{file.path}: account {account!r} of trace {trace!r} is of kind {kind} and "
                    f"of kind {self.kinds[life]}; give each kind a trace of its own"
                )
            lives.append(life)
        return lives


def decode(folder: Path, files: Sequence[TraceFile]) -> None:
    """Decode files into a folder; `TraceError` names the file and the fault."""
    index = _Index()
    with (
        pa.OSFile(str(folder / "rows.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, QUERIES) as writer,
    ):
        for file in files:
            index.files.append((index.rows, str(file.path)))
            for batch in read_batches(file):
                index.note(file, batch)
                writer.write_batch(batch)
    if not index.rows:
        raise TraceError(f"{files[0].path if files else 'no file'}: holds no query")
    order, lives = _arrange(index)
    contents = Contents(lives, index.files)
    (folder / "contents.json").write_bytes(msgspec.json.encode(contents))
    np.save(folder / "starts.npy", np.array(index.starts, np.int64))
    np.save(folder / "order.npy", order)
    np.save(folder / "due.npy", _due(np.concatenate(index.times)[order], lives))


def _arrange(index: _Index) -> tuple[Rows, list[Life]]:
    """Sort rows by life (trace, account, model) and query; check that queries count from 0."""
    keys = sorted(index.keys)
    rank = np.empty(len(keys), np.int64)
    rank[[index.keys[key] for key in keys]] = np.arange(len(keys))
    ranks = rank[np.concatenate(index.lives)]
    queries = np.concatenate(index.queries)
    order = np.lexsort((queries, ranks))
    sizes = np.bincount(ranks, minlength=len(keys))
    starts = np.cumsum(sizes) - sizes
    wrong = np.flatnonzero(queries[order] != np.arange(len(order)) - np.repeat(starts, sizes))
    if len(wrong):
        raise _gap(index, keys[ranks[order[wrong[0]]]], order, int(wrong[0]), queries)
    return order, [
        Life(*key, index.kinds[index.keys[key]], int(start), int(size))
        for key, start, size in zip(keys, starts, sizes, strict=True)
    ]


def _gap(
    index: _Index, key: tuple[str, str, str], order: Rows, place: int, queries: Rows
) -> TraceError:
    row = int(order[place])
    _, path = file_of(index.files, row)
    trace, account, model = key
    return TraceError(
        f"{path}: account {account!r}, model {model!r}, trace {trace!r}: query {queries[row]} is "
        "there twice, or an earlier one is missing; a life counts from 0, and two traces with the "
        "same accounts need names of their own in the column `trace`"
    )


def file_of(files: Sequence[tuple[int, str]], row: int) -> tuple[int, str]:
    """Find the file, given with its first row, that a row of the store came from."""
    return next(file for file in reversed(files) if file[0] <= row)


def _due(times: Rows, lives: Sequence[Life]) -> Rows:
    due = times.copy()
    for life in lives:
        own = slice(life.start, life.start + life.queries)
        np.maximum.accumulate(times[own], out=due[own])
    return due
