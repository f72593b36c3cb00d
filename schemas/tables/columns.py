"""The columns of `schemas.columns` as Arrow schemas: `QUERIES`, `SCORES`, `VERDICTS`, `GAPS`.

Columns of a kind that lake formats cannot read back (Arrow's tensor extension type) are avoided on
purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

from gamekeeper.schemas import columns

arrow: Final[Any] = pa
"""pyarrow without types, for the calls that its stubs do not know or get wrong."""

TIME: Final = pa.timestamp("us", tz="UTC")
_KINDS: Final[dict[str, pa.DataType]] = {
    "BIGINT": pa.int64(),
    "BLOB": pa.binary(),
    "BOOLEAN": pa.bool_(),
    "DOUBLE": pa.float64(),
    "FLOAT[]": pa.list_(pa.float32()),
    "INTEGER": pa.int32(),
    "INTEGER[]": pa.list_(pa.int32()),
    "TIMESTAMPTZ": TIME,
    "VARCHAR": pa.string(),
    "VARCHAR[]": pa.list_(pa.string()),
}


def _schema(table: Mapping[str, columns.Column]) -> pa.Schema:
    fields: list[pa.Field[Any]] = [
        pa.field(name, _KINDS[column.kind], nullable=column.nullable)
        for name, column in table.items()
    ]
    return pa.schema(fields)


QUERIES: Final = _schema(columns.QUERIES)
SCORES: Final = _schema(columns.SCORES)
VERDICTS: Final = _schema(columns.VERDICTS)
GAPS: Final = _schema(columns.GAPS)
TABLES: Final = {"queries": QUERIES, "scores": SCORES, "verdicts": VERDICTS, "gaps": GAPS}
"""The tables by name; each is a folder of that name."""
