"""Rows of the `queries` table as numpy sees them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Lists(NamedTuple):
    """A list or binary column, cut up: row i is `values[offsets[i]:offsets[i + 1]]`."""

    offsets: NDArray[np.int32]
    values: Any
    valid: NDArray[np.bool_]

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Say how long each row's list is; a null has none."""
        return np.diff(self.offsets)


def binary(column: Any) -> Lists:
    """View a column of bytes; its values are one memoryview."""
    _, offsets, data = column.buffers()
    cut = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return Lists(cut, memoryview(data or b""), np.ones(len(column), np.bool_))


def lists(column: Any) -> Lists:
    """View a column of lists of numbers; a null number makes all of them floats, itself NaN."""
    return Lists(
        column.offsets.to_numpy(),
        column.values.to_numpy(zero_copy_only=False),
        column.is_valid().to_numpy(zero_copy_only=False),
    )


class View:
    """A batch's columns, in those of `QUERIES`, without copies where that can be."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        """View the columns that events are made of."""
        self.row = batch.column("row").to_numpy()
        self.query = batch.column("query").to_numpy()
        self.time = batch.column("time").cast(pa.int64()).to_numpy()
        self.label = batch.column("label").to_numpy()
        self.dtype = batch.column("dtype")
        self.tensor = binary(batch.column("tensor"))
        self.shape = lists(batch.column("shape"))
        self.probabilities = lists(batch.column("probabilities"))
        self.embedding = lists(batch.column("embedding"))
