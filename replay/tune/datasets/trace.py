"""Recorded traces for training: the benign rows, with the account each came from."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gamekeeper.replay.traces import Life, TraceFile, TraceStore, read_batches
from gamekeeper.replay.tune.datasets.rows import Part
from gamekeeper.replay.tune.evaluation import BATCH, BENIGN
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.tensor import DTYPES

_COLUMNS: Final = ("dtype", "shape", "tensor", "trace", "account")


class Traced:
    """What was met in traces: models, and rows of kinds that are left out."""

    def __init__(self) -> None:
        self.models: set[str] = set()
        self.skipped: Counter[str] = Counter()


def trace_parts(file: TraceFile, met: Traced, model: str | None) -> Iterator[Part]:
    """Read a trace's benign rows, and those of no stated kind; an account is a group.

    Other kinds are counted in `met.skipped`; with `model`, other models' rows are passed over.
    """
    for batch in read_batches(file):
        table = pa.Table.from_batches([batch])
        kinds = [kind or BENIGN for kind in batch["kind"].to_pylist()]
        met.skipped.update(kind for kind in kinds if kind != BENIGN)
        models = batch["model"].to_pylist()
        wanted = [
            kind == BENIGN and model in (None, name)
            for kind, name in zip(kinds, models, strict=True)
        ]
        met.models.update(str(name) for name, keep in zip(models, wanted, strict=True) if keep)
        yield from _tensors(file, table.filter(pa.array(wanted)))


def life_parts(store: TraceStore, lives: Sequence[Life]) -> Iterator[Part]:
    """Read lives of an open trace; an account is a group."""
    for life in lives:
        for stretch in store.stretches(life, BATCH):
            inputs, labels = stretch.batch.inputs, stretch.batch.labels.astype(np.int64)
            yield Part(life.trace, inputs, labels, [f"{life.trace}/{life.account}"] * len(labels))


def _tensors(file: TraceFile, rows: pa.Table) -> Iterator[Part]:
    """Cut rows where dtype or shape change, and view the bytes of each run as one array."""
    columns: dict[str, list[Any]] = {name: rows[name].to_pylist() for name in _COLUMNS}
    groups = [
        f"{trace}/{account}"
        for trace, account in zip(columns["trace"], columns["account"], strict=True)
    ]
    labels = rows["label"].to_numpy().astype(np.int64)
    shapes = [tuple(shape) for shape in columns["shape"]]
    kinds = list(zip(columns["dtype"], shapes, strict=True))
    starts = [row for row in range(len(kinds)) if row == 0 or kinds[row] != kinds[row - 1]]
    for start, stop in itertools.pairwise([*starts, len(kinds)]):
        inputs = _array(file, columns["tensor"][start:stop], *kinds[start])
        yield Part(str(file.path), inputs, labels[start:stop], groups[start:stop])


def _array(
    file: TraceFile, tensors: list[bytes], dtype: str, shape: tuple[int, ...]
) -> NDArray[Any]:
    known = DTYPES.get(dtype)
    if known is None:
        raise TraceError(f"{file.path}: unknown dtype {dtype!r}; not a trace of ours")
    size = known.itemsize * math.prod(shape)
    if any(len(tensor) != size for tensor in tensors):
        raise TraceError(f"{file.path}: a tensor of {dtype} and shape {shape} needs {size} bytes")
    return np.frombuffer(b"".join(tensors), known).reshape(len(tensors), *shape)
