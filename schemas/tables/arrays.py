"""Rows of the `queries` table as arrays, without an object for each event.

The rules are those of `events_from_rows`, looked at for all rows at once; what is wrong with a row
that breaks one, that function says.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gamekeeper.schemas.event import DEFAULT_LIMITS, PROBABILITY_SLACK, Limits
from gamekeeper.schemas.tables.columns import arrow
from gamekeeper.schemas.tables.read import IDENTITY, event_starts, events_from_rows
from gamekeeper.schemas.tables.view import Lists, View
from gamekeeper.schemas.tensor import DTYPES, is_sound
from gamekeeper.schemas.wire import YEAR_3000

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Arrays(NamedTuple):
    """Consecutive rows that are alike, in whole events, as arrays of `n` queries.

    `starts` `(events + 1,)` says with which row each event begins, and at last n; `times` `(n,)`
    are microseconds since 1970, `inputs` `(n, *shape)`, `labels` `(n,)`, `probabilities` `(n, k)`,
    `embedding` `(n, d)`. Views of the table where they can be, read-only.
    """

    starts: Ints
    times: Ints
    inputs: NDArray[Any]
    labels: Ints
    probabilities: NDArray[np.float32] | None
    embedding: NDArray[np.float32] | None


def arrays_from_rows(rows: pa.Table, limits: Limits = DEFAULT_LIMITS) -> list[Arrays]:
    """Make arrays of whole events of one account and model, in the columns of `QUERIES`.

    A run ends where dtype or shape change, or where probabilities or embeddings come, go, or
    change in length. Raises `TraceError` where `events_from_rows` does, with the same words.
    """
    if not rows:
        return []
    [batch] = rows.combine_chunks().to_batches()
    table = _Table(batch)
    if not table.is_sound(limits):
        deque(events_from_rows(rows, limits), maxlen=0)  # raises, or was in doubt only
    runs = [0, *np.flatnonzero(table.changed).tolist(), batch.num_rows]
    return [table.arrays(start, stop) for start, stop in pairwise(runs)]


class _Table(View):
    """A batch's columns, with the rows at which events and runs begin."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        super().__init__(batch)
        self.batch = batch
        self.starts = event_starts(batch)
        self.counts = np.diff(self.starts, append=batch.num_rows)
        self.changed = self._changed()

    def arrays(self, start: int, stop: int) -> Arrays:
        """View a run of rows."""
        own = self.starts[(self.starts >= start) & (self.starts < stop)]
        return Arrays(
            starts=np.append(own, stop) - start,
            times=self.time[start:stop],
            inputs=self._inputs(start, stop),
            labels=self.label[start:stop].astype(np.int64),
            probabilities=_matrix(self.probabilities, start, stop),
            embedding=_matrix(self.embedding, start, stop),
        )

    def is_sound(self, limits: Limits) -> bool:
        """Say whether all rows keep the rules; false also where only a closer look could tell."""
        return (
            self._is_whole()
            and self._is_small(limits)
            and self._has_names(limits.max_id)
            and 0 <= int(self.time.min()) <= int(self.time.max()) < YEAR_3000
            and int(self.label.min()) >= 0
            and self._has_tensors(limits.max_dims)
            and _are_numbers(self.probabilities, -PROBABILITY_SLACK, 1 + PROBABILITY_SLACK)
            and _are_numbers(self.embedding, -math.inf, math.inf)
        )

    def _changed(self) -> Mask:
        """Mark the rows that are of another kind than the one before them."""
        changed = np.zeros(self.batch.num_rows, np.bool_)
        dtype = pc.not_equal(self.dtype.slice(1), self.dtype.slice(0, len(self.dtype) - 1))
        changed[1:] = dtype.to_numpy(zero_copy_only=False)
        for each in (self.shape, self.probabilities, self.embedding):
            changed[1:] |= (np.diff(each.lengths) != 0) | np.diff(each.valid)
        return changed | self._reshaped()

    def _reshaped(self) -> Mask:
        """Mark the rows with an axis of another length than the same axis of the row before."""
        axes = self.shape.lengths
        marked = np.zeros(len(axes), np.bool_)
        offsets, values = self.shape.offsets, self.shape.values
        for axis in range(int(axes.max(initial=0))):
            rows = np.flatnonzero(axes > axis)
            lengths = values[offsets[rows] + axis]
            neighbours = np.flatnonzero((np.diff(rows) == 1) & (np.diff(lengths) != 0))
            marked[rows[neighbours + 1]] = True
        return marked

    def _inputs(self, start: int, stop: int) -> NDArray[Any]:
        offsets = self.tensor.offsets
        dtype = DTYPES[self.dtype[start].as_py()]
        shape = self.shape.values[self.shape.offsets[start] : self.shape.offsets[start + 1]]
        data = self.tensor.values[offsets[start] : offsets[stop]]
        flat = np.require(np.frombuffer(data, dtype), requirements="A")
        return flat.reshape(stop - start, *shape.tolist())

    def _is_whole(self) -> bool:
        """Check that rows are numbered, and agree within their event."""
        first = np.repeat(self.starts, self.counts)
        place = np.arange(len(first)) - first
        inside = place > 0
        return bool(
            (self.row == place).all()
            and (self.query - self.query[first] == place).all()
            and (self.time == self.time[first]).all()
            and not self.changed[inside].any()
        )

    def _is_small(self, limits: Limits) -> bool:
        """Check the sizes of events; those of more than half the bytes allowed are in doubt."""
        rows = np.zeros(len(self.row), np.int64)
        for each, width in ((self.tensor, 1), (self.probabilities, 4), (self.embedding, 4)):
            rows += each.lengths * width
        events = np.add.reduceat(rows, self.starts)
        return bool(
            (self.counts <= limits.max_rows).all() and (2 * events < limits.max_bytes).all()
        )

    def _has_names(self, longest: int) -> bool:
        for name in IDENTITY:
            names: Any = self.batch.column(name).take(arrow.array(self.starts))
            lengths = pc.utf8_length(names).to_numpy()
            if lengths.min() < 1 or lengths.max() > longest:
                return False
            if pc.any(pc.match_substring(names, "\0")).as_py():
                return False
        return True

    def _has_tensors(self, most: int) -> bool:
        """Check dtypes, shapes, byte counts and values of the inputs, run by run."""
        if self.shape.values.dtype.kind != "i" or not self.shape.valid.all():
            return False
        runs = [0, *np.flatnonzero(self.changed).tolist(), len(self.row)]
        return all(self._is_tensor(start, stop, most) for start, stop in pairwise(runs))

    def _is_tensor(self, start: int, stop: int, most: int) -> bool:
        name = self.dtype[start].as_py()
        shape = self.shape.values[self.shape.offsets[start] : self.shape.offsets[start + 1]]
        if name not in DTYPES or len(shape) >= most or (shape < 1).any():
            return False
        width = math.prod(shape.tolist()) * DTYPES[name].itemsize
        if (self.tensor.lengths[start:stop] != width).any():
            return False
        return is_sound(self._inputs(start, stop).reshape(-1), name)


def _matrix(column: Lists, start: int, stop: int) -> NDArray[np.float32] | None:
    if not column.valid[start]:
        return None
    values = column.values[column.offsets[start] : column.offsets[stop]]
    matrix: NDArray[np.float32] = values.reshape(stop - start, -1)
    return matrix


def _are_numbers(column: Lists, low: float, high: float) -> bool:
    """Check that lists are not empty and have finite numbers within bounds."""
    lengths = column.lengths[column.valid]
    values = column.values[column.offsets[0] : column.offsets[-1]]
    if not len(lengths):
        return True
    return bool(
        lengths.min() > 0
        and np.isfinite(values).all()
        and float(values.min()) >= low
        and float(values.max()) <= high
    )
