"""Trace files: found, opened, checked and brought to the columns of the `queries` table.

A trace is a Parquet file or a folder of them. Columns that may be null may be missing; others are
ignored. What can be wrong with a file ends in a `TraceError` that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.tables import QUERIES

SAMPLE: Final = Path(str(files("gamekeeper.replay.sample")))
"""The folder of the trace that ships with the package."""
SAMPLE_NAME: Final = "sample"
"""What stands for `SAMPLE` wherever a trace is named (`./sample` is a folder of that name)."""

# Few enough rows that a batch of large images stays far below Arrow's 2 GiB per binary array.
_BATCH_ROWS: Final = 256
SOURCES: Final = (
    "traces come from `gamekeeper record`, `gamekeeper attack` or `gamekeeper sink --queries`"
)
"""What to say of a file that is none."""
_REQUIRED: Final = (
    *("account", "model", "query", "time", "event", "row"),
    *("tensor", "dtype", "shape", "label"),
)


class TraceFile(NamedTuple):
    """A file of a trace; `trace` is the trace's name where the rows do not give one."""

    path: Path
    trace: str


def trace_files(paths: Iterable[Path | str]) -> list[TraceFile]:
    """List the Parquet files of traces, sorted within each folder.

    A folder that has a folder `queries` (the service's, or an evaluation's) stands for that one.
    The word `sample` is the shipped trace. Raises `TraceError` where there is nothing.
    """
    found: list[TraceFile] = []
    for each in paths:
        path = SAMPLE if str(each) == SAMPLE_NAME else Path(each)
        if path.is_dir():
            found.extend(_in_folder(path))
        elif path.is_file():
            found.append(TraceFile(path, path.stem))
        else:
            raise TraceError(f"{path}: no such trace; name a Parquet file, a folder or `sample`")
    return found


def _in_folder(folder: Path) -> list[TraceFile]:
    inner = folder / "queries"
    parquet = sorted((inner if inner.is_dir() else folder).rglob("*.parquet"))
    if not parquet:
        raise TraceError(f"{folder}: holds no .parquet file; record a trace into it first")
    return [TraceFile(path, folder.resolve().name) for path in parquet]


def read_batches(file: TraceFile) -> Iterator[pa.RecordBatch]:
    """Read a file in batches of few rows with exactly the columns of `QUERIES`.

    Raises `TraceError` on an unreadable file, missing columns, wrong types and nulls where there
    must be none; the tensors' bytes are not looked at.
    """
    try:
        with pq.ParquetFile(file.path) as parquet:
            _check_columns(file.path, parquet.schema_arrow)
            wanted = [name for name in QUERIES.names if name in parquet.schema_arrow.names]
            row = 0
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
                yield _normal(file, batch, row)
                row += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        raise TraceError(f"{file.path}: cannot be read as a trace: {error}; {SOURCES}") from error


def _check_columns(path: Path, schema: pa.Schema) -> None:
    missing = [name for name in _REQUIRED if name not in schema.names]
    if missing:
        raise TraceError(f"{path}: not a trace: no column {', '.join(missing)}; {SOURCES}")


def _normal(file: TraceFile, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
    columns = [_column(file.path, batch, field, first) for field in QUERIES]
    trace = QUERIES.get_field_index("trace")
    columns[trace] = columns[trace].fill_null(file.trace)
    return pa.RecordBatch.from_arrays(columns, schema=QUERIES)


def _column(path: Path, batch: pa.RecordBatch, field: pa.Field[Any], first: int) -> pa.Array[Any]:
    if field.name not in batch.schema.names:
        nothing: pa.Array[Any] = pa.nulls(batch.num_rows, field.type)
        return nothing
    column: pa.Array[Any] = batch.column(field.name)
    if field.name in _REQUIRED and column.null_count:
        row = first + column.is_null().index(True).as_py()
        raise TraceError(f"{path}: row {row}: {field.name} is null")
    if column.type == field.type:
        return column
    try:
        cast: pa.Array[Any] = column.cast(field.type)
    except pa.ArrowException as error:
        raise TraceError(
            f"{path}: column {field.name} is {column.type}, not {field.type}: {error}"
        ) from error
    return cast
