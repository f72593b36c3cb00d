"""The columns of the tables in SQL's types, for whoever reads them without Arrow.

The service's sink, recorded traces and replay's results use the same ones. `schemas.tables` has
them as Arrow schemas.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Column(NamedTuple):
    """A column's type, as DuckDB spells it, and whether it may be null."""

    kind: str
    nullable: bool = False


def _columns(required: dict[str, str], optional: dict[str, str]) -> dict[str, Column]:
    found = {name: Column(kind) for name, kind in required.items()}
    return found | {name: Column(kind, nullable=True) for name, kind in optional.items()}


QUERIES: Final = _columns(
    {
        "account": "VARCHAR",
        "model": "VARCHAR",
        "query": "BIGINT",
        "time": "TIMESTAMPTZ",
        "event": "VARCHAR",
        "row": "INTEGER",
        "tensor": "BLOB",
        "dtype": "VARCHAR",
        "shape": "INTEGER[]",
        "label": "INTEGER",
    },
    {
        "probabilities": "FLOAT[]",
        "embedding": "FLOAT[]",
        "trace": "VARCHAR",
        "kind": "VARCHAR",
        "synthetic": "BOOLEAN",
        "round": "INTEGER",
    },
)
"""One row per query; a trace is a file or folder of these.

`query` is the query's index within its account and model, from 0; `row` its index within the
event; `tensor` and `shape` are of that one row, without the axis of rows, little-endian.
`trace`, `kind` ("benign" or the attack's name), `synthetic` and `round` are for recorded traces.
"""

SCORES: Final = {
    "trace": Column("VARCHAR", nullable=True),
    "kind": Column("VARCHAR", nullable=True),
    "account": Column("VARCHAR"),
    "model": Column("VARCHAR"),
    "query": Column("BIGINT"),
    "time": Column("TIMESTAMPTZ"),
    "detector": Column("VARCHAR"),
    "statistic": Column("DOUBLE", nullable=True),
}
"""One row per query and detector; `statistic` is null while the detector is not yet ready."""

VERDICTS: Final = _columns(
    {
        "schema": "INTEGER",
        "id": "VARCHAR",
        "activity": "VARCHAR",
        "finding": "VARCHAR",
        "account": "VARCHAR",
        "model": "VARCHAR",
        "detector": "VARCHAR",
        "statistic": "DOUBLE",
        "threshold": "DOUBLE",
        "tail": "VARCHAR",
        "severity": "VARCHAR",
        "queries": "BIGINT",
        "query": "BIGINT",
        "first_time": "TIMESTAMPTZ",
        "last_time": "TIMESTAMPTZ",
        "reason": "VARCHAR",
        "evidence": "VARCHAR",
        "profile": "VARCHAR",
        "promise": "VARCHAR",
        "topic": "VARCHAR",
        "partition": "INTEGER",
        "offset": "BIGINT",
        "row": "INTEGER",
        "technique": "VARCHAR",
        "tactic": "VARCHAR",
    },
    {
        "agreeing": "VARCHAR[]",
        "kind": "VARCHAR",
        "summary": "VARCHAR",
        "disposition": "VARCHAR",
        "_topic": "VARCHAR",
        "_partition": "INTEGER",
        "_offset": "BIGINT",
    },
)
"""One row per verdict; `evidence` and `promise` are JSON text.

`agreeing` names the detectors that hold the account for an attacker after the change, `kind` says
what the detector's evidence is of, `summary` tells it in plain words (null: written by a build that
did not say). `disposition` is what the analyst who closed the finding says that it was (null: not
closed by one, or unsaid).

`topic`, `partition`, `offset`, `row` say where the causing query lies; `_topic`, `_partition`,
`_offset` where the verdict itself lies (null where it never was on a topic).
"""

GAPS: Final = _columns(
    {
        "topic": "VARCHAR",
        "partition": "INTEGER",
        "first": "BIGINT",
        "next": "BIGINT",
        "lost": "BIGINT",
        "seen": "TIMESTAMPTZ",
    },
    {},
)
"""One row per stretch of a topic's partition that had expired before the sink read it.

`first` is the first offset that is missing, `next` the one that the sink went on at, `lost` how
many lie between: as many records at most, for compaction and transactions use up offsets, too.
`seen` is when the sink noticed. What was lost is in no other table: `query` of `queries` counts on
without it, and so falls behind the worker's numbers where the worker has read it.
"""

COLUMNS: Final = {"queries": QUERIES, "scores": SCORES, "verdicts": VERDICTS, "gaps": GAPS}
"""The tables by name; each is a folder of that name."""
