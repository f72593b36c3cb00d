"""From a request's arrays to query events, in two steps: the caller's thread copies, another does
the rest.

The first step is all that a model server waits for. So it copies bytes and looks at shapes;
building the event, and the search for NaN, are the background thread's. numpy lets go of the
interpreter's lock in its larger loops, `ndarray.copy` included, and to get it back the caller may
wait a whole switch interval (5 ms) for a busy background thread; `ndarray.tobytes` keeps it.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.event import Limits, QueryEvent
from gamekeeper.schemas.tensor import DTYPES, Tensor

# Below a broker's default message.max.bytes (1,048,588), with room for ids and framing.
EVENT_BYTES: Final = 1_000_000
EVENT_ROWS: Final = Limits().max_rows

Raw = tuple[bytes, np.dtype[Any], tuple[int, ...]]
"""An array's bytes in C order, its dtype and its shape."""


class Request(msgspec.Struct, frozen=True):
    """A request, or a part of a large one, as the caller's thread leaves it."""

    account: str
    time: int
    id: str | None
    part: int
    inputs: Raw
    labels: Raw
    probabilities: Raw | None
    embedding: Raw | None

    def event(self, new_id: str, model: str, model_version: str, sampling: float) -> QueryEvent:
        """Build the event; its id is `new_id` if the request has none.

        Parts after the first get the ids `id/1`, `id/2` and so on. Raises `SchemaError` where a
        dtype is not allowed.
        """
        whole = new_id if self.id is None else self.id
        return QueryEvent(
            id=f"{whole}/{self.part}" if self.part else whole,
            account=self.account,
            model=model,
            model_version=model_version,
            time=self.time,
            inputs=_tensor(self.inputs),
            labels=_array(self.labels).astype(np.int64).tolist(),
            probabilities=None if self.probabilities is None else _tensor(self.probabilities),
            embedding=None if self.embedding is None else _tensor(self.embedding),
            sampling=sampling,
        )


def _array(raw: Raw) -> NDArray[Any]:
    data, dtype, shape = raw
    return np.frombuffer(data, dtype).reshape(shape)


def _tensor(raw: Raw) -> Tensor:
    data, dtype, shape = raw
    if DTYPES.get(dtype.name) == dtype:
        return Tensor(dtype.name, shape, data)
    return Tensor.from_array(_array(raw))  # another byte order, or a dtype that is refused


class Sheet:
    """A request's arrays, checked for agreeing rows and not yet copied.

    `inputs` is `(n, ...)`, `labels` `(n,)` integers, `probabilities` `(n, k)` or None, `embedding`
    `(n, d)` or None: arrays, nested lists, or tensors of torch, JAX or TensorFlow. `rows` is n,
    `nbytes` what copying takes. Raises `SchemaError`, or whatever the given objects raise when
    they are made into arrays.
    """

    __slots__ = ("embedding", "inputs", "labels", "nbytes", "probabilities", "rows")

    def __init__(
        self, inputs: Any, labels: Any, probabilities: Any = None, embedding: Any = None
    ) -> None:
        """View the arguments as arrays."""
        self.labels = as_array(labels)
        if self.labels.ndim != 1 or self.labels.dtype.kind not in "iub" or not len(self.labels):
            raise SchemaError(
                "$.labels",
                f"{self.labels.dtype} of shape {self.labels.shape}; "
                "give one class number (an integer) per row of inputs",
            )
        self.rows = len(self.labels)
        self.nbytes = self.labels.nbytes
        self.inputs = self._view("$.inputs", inputs)
        self.probabilities: NDArray[Any] | None = None
        self.embedding: NDArray[Any] | None = None
        if probabilities is not None:
            self.probabilities = self._view("$.probabilities", probabilities)
        if embedding is not None:
            self.embedding = self._view("$.embedding", embedding)

    def _view(self, path: str, values: Any) -> NDArray[Any]:
        array = as_array(values)
        if array.ndim == 0 or len(array) != self.rows:
            raise SchemaError(
                f"{path}.shape", f"{array.shape} for {self.rows} labels; give one row each"
            )
        if array.dtype.kind not in "biuf":
            raise SchemaError(f"{path}.dtype", f"{array.dtype}; give real numbers")
        self.nbytes += array.nbytes
        return array

    def copy(self, account: str, time: int, id: str | None) -> list[Request]:  # noqa: A002
        """Copy into one request, or into parts where it is too large for one record.

        Parts have an id in any case.
        """
        if self.nbytes <= EVENT_BYTES and self.rows <= EVENT_ROWS:
            return [self._copy(account, time, id, 0)]
        step = max(1, min(EVENT_ROWS, EVENT_BYTES * self.rows // self.nbytes))
        id = uuid.uuid4().hex if id is None else id  # noqa: A001
        return [
            self[start : start + step]._copy(account, time, id, part)
            for part, start in enumerate(range(0, self.rows, step))
        ]

    def __getitem__(self, rows: slice) -> Sheet:
        """Cut out rows, without copying."""
        probabilities, embedding = self.probabilities, self.embedding
        return Sheet(
            self.inputs[rows],
            self.labels[rows],
            None if probabilities is None else probabilities[rows],
            None if embedding is None else embedding[rows],
        )

    def _copy(self, account: str, time: int, id: str | None, part: int) -> Request:  # noqa: A002
        probabilities, embedding = self.probabilities, self.embedding
        return Request(
            account,
            time,
            id,
            part,
            _raw(self.inputs),
            _raw(self.labels),
            None if probabilities is None else _raw(probabilities),
            None if embedding is None else _raw(embedding),
        )


def _raw(array: NDArray[Any]) -> Raw:
    return array.tobytes(), array.dtype, array.shape


def as_array(values: Any) -> NDArray[Any]:
    """View anything array-like as an array; torch tensors are detached and brought to the CPU."""
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    array: ArrayLike = values
    return np.asarray(array)
