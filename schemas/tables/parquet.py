"""Parquet files that are whole or absent, and the same bytes for the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.files import make_folder, whole
from gamekeeper.schemas.tables.columns import arrow

# Tensor bytes per row group, so that a reader of one group needs little memory.
_GROUP_BYTES: Final = 64 * 2**20
_GROUP_ROWS: Final = 2**17


def write_parquet(table: pa.Table | pa.RecordBatch, path: Path) -> None:
    """Write a table so that `path` is always absent, the old file, or the whole new one.

    The same rows give the same bytes, whatever chunks they came in. Raises `TraceError`.
    """
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    try:
        make_folder(path.parent)
        with whole(path) as temporary:
            write_rows(table, temporary)
    except (OSError, pa.ArrowException) as error:
        raise TraceError(f"{path}: cannot be written: {error}") from error


def write_rows(table: pa.Table, path: Path) -> None:
    """Write a table as it comes; raises `OSError` or `pyarrow.ArrowException`."""
    table = table.combine_chunks()
    short = [field.name for field in table.schema if not _is_bulky(field.type)]
    arrow.parquet.write_table(
        table,
        path,
        row_group_size=_group_rows(table),
        version="2.6",
        compression="zstd",
        use_dictionary=[
            name for name in short if pa.types.is_string(table.schema.field(name).type)
        ],
        write_statistics=short,
    )


def _group_rows(table: pa.Table) -> int:
    if "tensor" not in table.column_names or not len(table):
        return _GROUP_ROWS
    size = pc.sum(pc.cast(pc.binary_length(table["tensor"]), pa.int64())).as_py() or 1
    return max(1, min(_GROUP_ROWS, _GROUP_BYTES * len(table) // size))


def _is_bulky(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_nested(kind)
