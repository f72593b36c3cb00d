"""Parquet for training: encoded images, or vectors of numbers, with a label each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gamekeeper.replay.tune.datasets.images import decode_image
from gamekeeper.replay.tune.datasets.rows import Part
from gamekeeper.schemas.errors import TraceError

VECTORS: Final = ("x", "features", "vector", "inputs")
"""What a column with one list of numbers per row may be called."""
_IMAGE: Final = "image"
_LABEL: Final = "label"
_BATCH_ROWS: Final = 1024


def is_trace(path: Path) -> bool:
    """Tell a trace from other Parquet by its columns; `TraceError` where it is no Parquet."""
    return {"tensor", "account"} <= set(_schema(path).names)


def table_parts(path: Path, group: str | None) -> Iterator[Part]:
    """Read images or vectors with their `label`; the column `group` says what belongs together.

    Images are the column `image`: PNG or JPEG bytes, or a struct that has them as `bytes`.
    Vectors are a column of lists named as in `VECTORS`, or else all columns of numbers but
    `label` and the group.
    """
    schema = _schema(path)
    names = _inputs(path, schema, group)
    wanted = [*names, _LABEL, *([group] if group else [])]
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        raise TraceError(f"{path}: there is no column {', '.join(missing)}")
    row = 0
    try:
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
                yield from _parts(path, batch, names, group, row)
                row += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        raise TraceError(f"{path}: cannot be read: {error}") from error


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise TraceError(f"{path}: cannot be read as Parquet: {error}") from error


def _inputs(path: Path, schema: pa.Schema, group: str | None) -> list[str]:
    """Name the columns that make the inputs."""
    for name in (_IMAGE, *VECTORS):
        if name in schema.names:
            return [name]
    others = [each.name for each in schema if _is_number(each.type)]
    others = [name for name in others if name not in (_LABEL, group)]
    if not others:
        expected = f"`{_IMAGE}` (encoded), {', '.join(VECTORS)} (lists) or columns of numbers"
        raise TraceError(f"{path}: no inputs: expected {expected}, and `{_LABEL}`")
    return others


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _parts(
    path: Path, batch: pa.RecordBatch, names: list[str], group: str | None, first: int
) -> Iterator[Part]:
    for name in batch.schema.names:
        if batch[name].null_count:
            row = first + batch[name].is_null().index(True).as_py()
            raise TraceError(f"{path}: row {row}: {name} is null")
    groups = [f"{path}/{name}" for name in batch[group].to_pylist()] if group else None
    labels = _labels(path, batch[_LABEL])
    if names != [_IMAGE]:
        yield Part(str(path), _vectors(path, batch, names), labels, groups)
        return
    for row, encoded in enumerate(batch[_IMAGE].to_pylist()):
        where = f"{path}: row {first + row}"
        data = encoded.get("bytes") if isinstance(encoded, dict) else encoded
        if not isinstance(data, bytes):
            raise TraceError(f"{where}: `{_IMAGE}` has no bytes; embed the encoded images")
        one = slice(row, row + 1)
        image: NDArray[Any] = decode_image(data, where)[np.newaxis]
        yield Part(where, image, labels[one], groups[one] if groups else None)


def _vectors(path: Path, batch: pa.RecordBatch, names: list[str]) -> NDArray[Any]:
    """Make `(n, d)` of one column of lists or of several columns of numbers."""
    if _is_number(batch[names[0]].type):
        return np.stack([batch[name].to_numpy() for name in names], axis=1)
    column = batch[names[0]]
    try:
        vectors = np.array(column.to_pylist())
    except ValueError as error:
        raise TraceError(f"{path}: {names[0]} has lists of different lengths") from error
    kind = getattr(column.type, "value_type", None)
    if kind is None or not _is_number(kind):
        raise TraceError(f"{path}: {names[0]} is {column.type}; expected lists of numbers")
    return vectors.astype(kind.to_pandas_dtype())


def _labels(path: Path, column: pa.Array[Any]) -> NDArray[np.int64] | list[str]:
    if pa.types.is_integer(column.type):
        return column.to_numpy().astype(np.int64)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return [str(name) for name in column.to_pylist()]
    raise TraceError(f"{path}: {_LABEL} is {column.type}; expected whole numbers or names")
