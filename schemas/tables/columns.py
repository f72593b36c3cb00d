"""The columns of the three tables, as Arrow schemas: `QUERIES`, `SCORES`, `VERDICTS`.

The service's sink, recorded traces and replay's results use the same ones. Columns of a kind that
lake formats cannot read back (Arrow's tensor extension type) are avoided on purpose.
"""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

arrow: Final[Any] = pa
"""pyarrow without types, for the calls that its stubs do not know or get wrong."""

TIME: Final = pa.timestamp("us", tz="UTC")
_FLOATS: Final = pa.list_(pa.float32())


def _columns(required: dict[str, pa.DataType], optional: dict[str, pa.DataType]) -> pa.Schema:
    fields: list[pa.Field[Any]] = [
        pa.field(name, kind, nullable=False) for name, kind in required.items()
    ]
    fields += [pa.field(name, kind) for name, kind in optional.items()]
    return pa.schema(fields)


QUERIES: Final = _columns(
    {
        "account": pa.string(),
        "model": pa.string(),
        "query": pa.int64(),
        "time": TIME,
        "event": pa.string(),
        "row": pa.int32(),
        "tensor": pa.binary(),
        "dtype": pa.string(),
        "shape": pa.list_(pa.int32()),
        "label": pa.int32(),
    },
    {
        "probabilities": _FLOATS,
        "embedding": _FLOATS,
        "trace": pa.string(),
        "kind": pa.string(),
        "synthetic": pa.bool_(),
        "round": pa.int32(),
    },
)
"""One row per query; a trace is a file or folder of these.

`query` is the query's index within its account and model, from 0; `row` its index within the
event; `tensor` and `shape` are of that one row, without the axis of rows, little-endian.
`trace`, `kind` ("benign" or the attack's name), `synthetic` and `round` are for recorded traces.
"""

SCORES: Final[pa.Schema] = arrow.schema(
    [
        pa.field("trace", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("account", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("query", pa.int64(), nullable=False),
        pa.field("time", TIME, nullable=False),
        pa.field("detector", pa.string(), nullable=False),
        pa.field("statistic", pa.float64()),
    ]
)
"""One row per query and detector; `statistic` is null while the detector is not yet ready."""

VERDICTS: Final = _columns(
    {
        "schema": pa.int32(),
        "id": pa.string(),
        "activity": pa.string(),
        "finding": pa.string(),
        "account": pa.string(),
        "model": pa.string(),
        "detector": pa.string(),
        "statistic": pa.float64(),
        "threshold": pa.float64(),
        "tail": pa.string(),
        "severity": pa.string(),
        "queries": pa.int64(),
        "query": pa.int64(),
        "first_time": TIME,
        "last_time": TIME,
        "reason": pa.string(),
        "evidence": pa.string(),
        "profile": pa.string(),
        "promise": pa.string(),
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "row": pa.int32(),
        "technique": pa.string(),
        "tactic": pa.string(),
    },
    {
        "agreeing": pa.list_(pa.string()),
        "_topic": pa.string(),
        "_partition": pa.int32(),
        "_offset": pa.int64(),
    },
)
"""One row per verdict; `evidence` and `promise` are JSON text.

`agreeing` names the detectors that hold the account for an attacker after the change.

`topic`, `partition`, `offset`, `row` say where the causing query lies; `_topic`, `_partition`,
`_offset` where the verdict itself lies (null where it never was on a topic).
"""

TABLES: Final = {"queries": QUERIES, "scores": SCORES, "verdicts": VERDICTS}
"""The tables by name; each is a folder of that name."""
