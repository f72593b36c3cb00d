"""Query events back from rows of the `queries` table, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gamekeeper.schemas.errors import SchemaError, TraceError
from gamekeeper.schemas.event import DEFAULT_LIMITS, Limits, QueryEvent, check_event
from gamekeeper.schemas.tables.columns import QUERIES, arrow
from gamekeeper.schemas.tables.view import Lists, View
from gamekeeper.schemas.tensor import Tensor

IDENTITY: Final = ("event", "account", "model")
"""The columns that tell events apart."""


def events_from_rows(
    rows: pa.Table | Iterable[pa.RecordBatch], limits: Limits = DEFAULT_LIMITS
) -> Iterator[QueryEvent]:
    """Yield the events of consecutive rows, at most one event more than a batch in memory.

    Consecutive rows with one `event`, `account` and `model`, numbered 0, 1, ... in `row`, are one
    event. Columns are taken by name; those that may be null may be absent. Raises `TraceError`,
    with the number of the row counted from 0 over all batches, for a missing column, rows of an
    event that do not fit together, and events that `check_event` refuses.
    """
    batches = rows.to_batches() if isinstance(rows, pa.Table) else rows
    rest: pa.RecordBatch | None = None
    number = 0
    for raw in batches:
        batch = _with_columns(raw, number + (rest.num_rows if rest else 0))
        if rest is not None:
            batch = arrow.concat_batches([rest, batch])
        starts = event_starts(batch)
        if len(starts) == 0:
            continue
        yield from _events(batch, starts, number, limits)
        rest, number = batch.slice(starts[-1]), number + int(starts[-1])
        if rest.num_rows > limits.max_rows:
            raise TraceError(f"row {number}: an event of more than {limits.max_rows} rows")
    if rest is not None:
        yield from _events(rest, np.array([0, rest.num_rows]), number, limits)


def _with_columns(batch: pa.RecordBatch, number: int) -> pa.RecordBatch:
    """Bring a batch into the columns of `QUERIES`."""
    arrays = []
    for field in QUERIES:
        if field.name not in batch.schema.names:
            if not field.nullable:
                raise TraceError(f"there is no column {field.name!r}; a trace has {QUERIES.names}")
            arrays.append(pa.nulls(batch.num_rows, field.type))
            continue
        column = batch.column(field.name)
        if column.type != field.type:
            try:
                column = pc.cast(column, field.type)
            except pa.ArrowException as error:
                raise TraceError(
                    f"column {field.name!r} is {column.type}, not {field.type}: {error}"
                ) from error
        if column.null_count and not field.nullable:
            missing = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise TraceError(f"row {number + missing}: {field.name!r} is null")
        arrays.append(column)
    return pa.RecordBatch.from_arrays(arrays, schema=QUERIES)


def event_starts(batch: pa.RecordBatch) -> NDArray[np.int64]:
    """Find the rows with which events begin."""
    if batch.num_rows == 0:
        return np.empty(0, np.int64)
    begins = batch.column("row").to_numpy() == 0
    begins[0] = True
    for name in IDENTITY:
        column = batch.column(name)
        changed = pc.not_equal(column.slice(1), column.slice(0, batch.num_rows - 1))
        begins[1:] |= changed.to_numpy(zero_copy_only=False)
    return np.flatnonzero(begins)


def _events(
    batch: pa.RecordBatch, bounds: NDArray[np.int64], number: int, limits: Limits
) -> Iterator[QueryEvent]:
    """Make the events between consecutive bounds; the batch's row 0 is row `number`."""
    heads = arrow.array(bounds[:-1])
    text = {name: batch.column(name).take(heads).to_pylist() for name in (*IDENTITY, "dtype")}
    reader = _Reader(batch)
    for index, (start, stop) in enumerate(
        zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    ):
        names = {name: values[index] for name, values in text.items()}
        try:
            reader.check(start, stop)
            event = reader.event(start, stop, names)
            check_event(event, limits)
        except (SchemaError, TraceError) as error:
            raise TraceError(f"row {number + start}, event {names['event']!r}: {error}") from error
        yield event


class _Reader(View):
    """Makes events of a batch's rows."""

    def check(self, start: int, stop: int) -> None:
        """Raise `TraceError` where rows do not make one event."""
        count = stop - start
        if not np.array_equal(self.row[start:stop], np.arange(count)):
            raise TraceError(f"its rows are not numbered 0 to {count - 1} in column 'row'")
        if count == 1:
            return
        if not np.array_equal(self.query[start:stop] - self.query[start], np.arange(count)):
            raise TraceError("its queries are not consecutive in column 'query'")
        if (self.time[start:stop] != self.time[start]).any():
            raise TraceError("its rows differ in column 'time'")
        if len(self.dtype.slice(start, count).unique()) > 1:
            raise TraceError("its rows differ in column 'dtype'")

    def event(self, start: int, stop: int, names: dict[str, Any]) -> QueryEvent:
        """Put the event together; its tensor's bytes are copied once."""
        shape = _table(self.shape, start, stop, "shape")
        if shape is not None and np.isnan(shape).any():
            raise TraceError("a length is null in column 'shape'")
        if shape is None or (shape != shape[0]).any():
            raise TraceError("its rows differ in column 'shape'")
        offsets = self.tensor.offsets[start : stop + 1]
        if (np.diff(offsets) != offsets[1] - offsets[0]).any():
            raise TraceError("its rows differ in length in column 'tensor'")
        data = bytes(self.tensor.values[offsets[0] : offsets[-1]])
        probabilities = _table(self.probabilities, start, stop, "probabilities")
        embedding = _table(self.embedding, start, stop, "embedding")
        return QueryEvent(
            id=names["event"],
            account=names["account"],
            model=names["model"],
            time=int(self.time[start]),
            inputs=Tensor(names["dtype"], (stop - start, *map(int, shape[0])), data),
            labels=self.label[start:stop].tolist(),
            probabilities=None if probabilities is None else Tensor.from_array(probabilities),
            embedding=None if embedding is None else Tensor.from_array(embedding),
        )


def _table(lists: Lists, start: int, stop: int, name: str) -> NDArray[Any] | None:
    """Stack the rows' lists into `(n, k)`; None where all are null."""
    valid = lists.valid[start:stop]
    if not valid.any():
        return None
    offsets = lists.offsets[start : stop + 1]
    if not valid.all() or (np.diff(offsets) != offsets[1] - offsets[0]).any():
        raise TraceError(f"its rows differ in length in column {name!r}")
    table: NDArray[Any] = lists.values[offsets[0] : offsets[-1]].reshape(stop - start, -1)
    return table
