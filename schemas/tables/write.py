"""Rows of the three tables from events, statistics and verdicts.

Needs pyarrow, which the tap does without: nothing that the tap imports imports this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables.columns import QUERIES, SCORES, TIME, VERDICTS, arrow
from gamekeeper.schemas.tables.parquet import write_parquet
from gamekeeper.schemas.tables.read import events_from_rows
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Verdict, encode_json

__all__ = [
    "QUERIES",
    "SCORES",
    "VERDICTS",
    "Position",
    "events_from_rows",
    "many_query_rows",
    "score_rows",
    "verdict_rows",
    "write_parquet",
]

Position: TypeAlias = tuple[str, int, int]
"""Where a record lies: topic, partition, offset."""

_INT32_MAX: Final = 2**31 - 1


def many_query_rows(
    events: Sequence[QueryEvent],
    first_queries: Sequence[int],
    *,
    trace: str | None = None,
    kind: str | None = None,
    synthetic: ArrayLike | None = None,
    round: ArrayLike | None = None,  # noqa: A002 - the column's name
) -> pa.RecordBatch:
    """Make the rows of checked events, in the columns of `QUERIES`.

    `first_queries` are the indices of the events' first queries within their account and model.
    `synthetic` and `round` are one value or `(n,)` values, one per query. Raises `TraceError` where
    the events' tensors take 2 GiB or more: hand in fewer events.
    """
    counts = np.array([len(event) for event in events], np.int64)
    ends = counts.cumsum()
    total = int(ends[-1]) if len(events) else 0
    of_event = np.repeat(np.arange(len(events)), counts)
    row = np.arange(total) - np.repeat(ends - counts, counts)
    columns = {
        **_event_columns(events, of_event),
        "query": np.array(first_queries, np.int64)[of_event] + row,
        "row": row.astype(np.int32),
        "tensor": _tensors(events, counts),
        "label": np.array([label for event in events for label in event.labels], np.int32),
        "probabilities": _floats([event.probabilities for event in events], counts),
        "embedding": _floats([event.embedding for event in events], counts),
        "trace": _constant(trace, total, pa.string()),
        "kind": _constant(kind, total, pa.string()),
        "synthetic": _constant(synthetic, total, pa.bool_()),
        "round": _constant(round, total, pa.int32()),
    }
    return _batch(columns, QUERIES)


def score_rows(
    account: str,
    model: str,
    first_query: int,
    times: ArrayLike,
    statistics: Mapping[str, NDArray[np.float64]],
    *,
    trace: str | None = None,
    kind: str | None = None,
) -> pa.RecordBatch:
    """Make rows of `SCORES` for consecutive queries of one account to one model.

    `times` is one event time or `(n,)` event times, in microseconds; `statistics` maps a
    detector's name to `(n,)` values, NaN (null in the table) where it was not yet ready.
    """
    queries = len(next(iter(statistics.values()), ()))
    total = queries * len(statistics)
    statistic = np.concatenate([np.empty(0), *statistics.values()])
    columns = {
        "trace": _constant(trace, total, pa.string()),
        "kind": _constant(kind, total, pa.string()),
        "account": _constant(account, total, pa.string()),
        "model": _constant(model, total, pa.string()),
        "query": np.tile(np.arange(first_query, first_query + queries), len(statistics)),
        "time": np.tile(np.broadcast_to(np.asarray(times, np.int64), queries), len(statistics)),
        "detector": np.repeat(np.array(list(statistics), object), queries),
        "statistic": pa.array(statistic, pa.float64(), mask=np.isnan(statistic)),
    }
    return _batch(columns, SCORES)


def verdict_rows(
    verdicts: Sequence[Verdict], positions: Sequence[Position | None] | None = None
) -> pa.RecordBatch:
    """Make rows of `VERDICTS`; `positions` says where each verdict's own record lies, if at all."""
    places = [position or (None, None, None) for position in positions or [None] * len(verdicts)]
    if len(places) != len(verdicts):
        raise ValueError(f"{len(places)} positions for {len(verdicts)} verdicts")
    columns: dict[str, Any] = {
        name: [getattr(verdict, name) for verdict in verdicts]
        for name in VERDICTS.names
        if not name.startswith("_")
    }
    for name in ("evidence", "promise"):
        columns[name] = [encode_json(value) for value in columns[name]]
    for index, name in enumerate(("_topic", "_partition", "_offset")):
        columns[name] = [place[index] for place in places]
    return _batch(columns, VERDICTS)


def _batch(columns: Mapping[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [_column(columns[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _column(values: Any, kind: pa.DataType) -> pa.Array[Any]:
    if isinstance(values, pa.Array):
        return values
    if kind == TIME:  # integers are microseconds since the epoch already
        return pa.array(values, pa.int64()).view(TIME)
    return pa.array(values, kind)


def _constant(value: Any, rows: int, kind: pa.DataType) -> Any:
    """Make a column of one value, of nothing (null), or of `(rows,)` given values."""
    if value is None:
        return arrow.nulls(rows, kind)
    if isinstance(value, str):
        return arrow.repeat(pa.scalar(value, kind), rows)
    return pa.array(np.broadcast_to(np.asarray(value), rows), kind)


def _event_columns(
    events: Sequence[QueryEvent], of_event: NDArray[np.int64]
) -> dict[str, pa.Array[Any]]:
    """Make the columns that are the same for all rows of an event."""
    columns = {
        "account": pa.array([event.account for event in events], pa.string()),
        "model": pa.array([event.model for event in events], pa.string()),
        "time": _column([event.time for event in events], TIME),
        "event": pa.array([event.id for event in events], pa.string()),
        "dtype": pa.array([event.inputs.dtype for event in events], pa.string()),
        "shape": pa.array([event.inputs.shape[1:] for event in events], pa.list_(pa.int32())),
    }
    if len(of_event) == len(events):
        return columns
    index = arrow.array(of_event)
    return {name: column.take(index) for name, column in columns.items()}


def _tensors(events: Sequence[QueryEvent], counts: NDArray[np.int64]) -> Any:
    """Cut the events' bytes into rows, without touching single values."""
    widths = np.array([len(event.inputs.data) // len(event) for event in events], np.int64)
    ends = np.repeat(widths, counts).cumsum()
    if len(ends) and ends[-1] > _INT32_MAX:
        raise TraceError("2 GiB of tensors in one batch; hand in fewer events at once")
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    data = arrow.py_buffer(b"".join(event.inputs.data for event in events))
    return arrow.Array.from_buffers(pa.binary(), len(ends), [None, arrow.py_buffer(offsets), data])


def _floats(tensors: Sequence[Tensor | None], counts: NDArray[np.int64]) -> Any:
    """Make lists of float32, one per row; null for the rows of an event that has none."""
    if not any(tensors):
        return arrow.nulls(int(counts.sum()), pa.list_(pa.float32()))
    widths = np.array([0 if tensor is None else tensor.shape[1] for tensor in tensors], np.int64)
    offsets = np.concatenate([[0], np.repeat(widths, counts).cumsum()]).astype(np.int32)
    values = np.concatenate(
        [tensor.array().astype(np.float32, copy=False).ravel() for tensor in tensors if tensor]
    )
    absent = np.repeat(np.array([tensor is None for tensor in tensors]), counts)
    return arrow.ListArray.from_arrays(
        pa.array(offsets), pa.array(values), mask=pa.array(absent) if absent.any() else None
    )
