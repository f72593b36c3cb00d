"""Data sets to train networks on, from traces, folders of images, IDX, npz and Parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.traces import (
    SAMPLE,
    SAMPLE_NAME,
    Life,
    TraceFile,
    TraceStore,
    trace_files,
)
from gamekeeper.replay.tune.calibration.benign_lives import naming
from gamekeeper.replay.tune.datasets.idx import idx_files, idx_parts, is_idx
from gamekeeper.replay.tune.datasets.images import image_folder, is_image_folder
from gamekeeper.replay.tune.datasets.npz import npz_parts
from gamekeeper.replay.tune.datasets.parquet import is_trace, table_parts
from gamekeeper.replay.tune.datasets.rows import Part, Row, Rows
from gamekeeper.replay.tune.datasets.trace import Traced, life_parts, trace_parts
from gamekeeper.schemas.errors import TraceError


@dataclass(frozen=True)
class Dataset:
    """Distinct inputs `(n, *shape)` in their own dtype, with labels `(n,)` int64 from 0.

    `groups` `(n,)` int64 numbers what must not be torn apart by a split (accounts of traces,
    values of a named column), or is None. The order of the rows is a random one, the same for
    the same rows and seed. `classes` are the labels as they were called; `repeated` counts the
    duplicates that were met of rows then kept, `skipped` the rows of traces that were not benign,
    by kind.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    repeated: int = 0
    skipped: Mapping[str, int] | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.labels)

    def digest(self) -> str:
        """Hash rows, labels and groups: equal for equal data, whatever files they came in."""
        content = hashlib.sha256(f"{self.inputs.dtype}{self.inputs.shape}".encode())
        content.update(np.ascontiguousarray(self.inputs).data)
        content.update(self.labels.tobytes())
        content.update(b"" if self.groups is None else self.groups.tobytes())
        return content.hexdigest()


def load_dataset(
    paths: Sequence[Path | str],
    *,
    limit: int | None = None,
    seed: int = 0,
    model: str | None = None,
    group: str | None = None,
    advance: Callable[[int], object] = lambda rows: None,
) -> Dataset:
    """Load files and folders as one data set of distinct rows, at most `limit` of them.

    Files are traces (or the word `sample`), IDX images with their labels beside them, npz, and
    Parquet with `image` or vectors and `label`; folders hold such files, or images in one
    sub-folder per class. Traces give their benign rows, of the one `model`. `group` names a
    Parquet column whose equal values stay on one side of a split. `advance` is told the number
    of rows read. Raises `TraceError`, which names the file and what was expected there.
    """
    rows, met, read = Rows(limit, seed), Traced(), 0
    for part in _parts(paths, met, model, group):
        rows.add(part)
        read += len(part.inputs)
        advance(read)
    if len(met.models) > 1:
        raise TraceError(
            f"the traces are of several models, {naming(sorted(met.models))}: labels of one model "
            "mean nothing to another; choose one with --model"
        )
    kept = rows.sorted()
    if not kept:
        kinds = f" but rows of kind {naming(sorted(met.skipped))}" if met.skipped else ""
        raise TraceError(f"{naming([str(path) for path in paths])}: no benign row{kinds}")
    return _dataset(kept, rows, met)


def dataset_of(
    store: TraceStore, lives: Sequence[Life], *, limit: int | None = None, seed: int = 0
) -> Dataset:
    """Make a data set of lives of an open trace, at least one; raises `TraceError`."""
    rows = Rows(limit, seed)
    for part in life_parts(store, lives):
        rows.add(part)
    return _dataset(rows.sorted(), rows, Traced())


def _dataset(kept: Sequence[Row], rows: Rows, met: Traced) -> Dataset:
    data = bytearray().join(row.data for row in kept)
    inputs = np.frombuffer(data, rows.dtype).reshape(len(kept), *rows.shape)
    labels, classes = _numbered([row.label for row in kept])
    names = [row.group for row in kept]
    # A row without a group (a picture beside traces) is a group of its own.
    groups = [f"row {at}" if name is None else f"group {name}" for at, name in enumerate(names)]
    return Dataset(
        inputs=inputs,
        labels=labels,
        groups=None if not any(names) else np.unique(groups, return_inverse=True)[1].astype(int),
        classes=classes,
        repeated=rows.repeated,
        skipped=dict(met.skipped),
    )


def _numbered(labels: Sequence[int | str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the classes from 0, in the order of their numbers or names."""
    kinds = {type(label) for label in labels}
    if len(kinds) > 1:
        raise TraceError("some labels are numbers, others names; give all sources the same kind")
    classes, places = np.unique(np.array(labels), return_inverse=True)
    return places.astype(np.int64), tuple(str(each) for each in classes)


def _parts(
    paths: Sequence[Path | str], met: Traced, model: str | None, group: str | None
) -> Iterator[Part]:
    for each in paths:
        path = SAMPLE if str(each) == SAMPLE_NAME else Path(each)
        if not path.exists():
            raise TraceError(f"{path}: no such file or folder")
        if path.is_dir():
            yield from _folder(path, met, model, group)
        else:
            yield from _file(TraceFile(path, path.stem), met, model, group)


def _folder(folder: Path, met: Traced, model: str | None, group: str | None) -> Iterator[Part]:
    files = [TraceFile(path, path.stem) for path in idx_files(folder)]
    files += [TraceFile(path, path.stem) for path in sorted(folder.glob("*.npz"))]
    if files:
        for file in files:
            yield from _file(file, met, model, group)
    elif is_image_folder(folder):
        yield from image_folder(folder)
    elif next(folder.rglob("*.parquet"), None):
        for file in trace_files([folder]):
            yield from _file(file, met, model, group)
    else:
        raise TraceError(
            f"{folder}: nothing to train on; expected sub-folders of images, one per class, IDX "
            "files (train-images-idx3-ubyte), .npz or .parquet files"
        )


def _file(file: TraceFile, met: Traced, model: str | None, group: str | None) -> Iterator[Part]:
    path = file.path
    if is_idx(path):
        return idx_parts(path)
    if path.suffix == ".npz":
        return npz_parts(path)
    if path.suffix != ".parquet":
        raise TraceError(
            f"{path}: unknown kind of file; expected a trace or images as .parquet, an .npz, an "
            "IDX file named like train-images-idx3-ubyte.gz, or a folder"
        )
    return trace_parts(file, met, model) if is_trace(path) else table_parts(path, group)
