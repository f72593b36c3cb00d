"""Tensors on the wire: numpy's dtype name, a shape and raw little-endian bytes.

A producer in any language writes one without a library: the name of the dtype (`float32`), the
lengths of the axes, and the values in C order (last axis fastest), little-endian, unpadded.
`bool` is one byte per value, 0 or 1.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import ArrayLike, NDArray

from gamekeeper.schemas.errors import SchemaError

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
        *("float16", "float32", "float64", "bool"),
    )
}
"""The dtypes a tensor may have, little-endian."""


class Tensor(msgspec.Struct, frozen=True):
    """An array on the wire; `data` holds the values in C order, little-endian."""

    dtype: Annotated[
        str,
        Meta(
            description="Name of the element type, as numpy calls it.",
            extra_json_schema={"enum": list(DTYPES)},
        ),
    ]
    shape: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        Meta(min_length=1, description="Lengths of the axes; the first one counts the rows."),
    ]
    data: Annotated[
        bytes,
        Meta(description="The values in C order, little-endian, unpadded (MessagePack bin)."),
    ]

    @classmethod
    def from_array(cls, array: ArrayLike) -> Tensor:
        """Copy an array of any byte order and memory layout into a tensor.

        Raises `SchemaError` where the dtype is none of `DTYPES` or the array has no axes.
        """
        values = np.asarray(array)
        dtype = DTYPES.get(values.dtype.name)
        if dtype is None:
            raise SchemaError("$.dtype", _unknown_dtype(values.dtype.name))
        if values.ndim == 0:
            raise SchemaError("$.shape", "a tensor has at least one axis, the rows")
        return cls(
            values.dtype.name, values.shape, values.astype(dtype, order="C", copy=False).tobytes()
        )

    def array(self) -> NDArray[Any]:
        """View the bytes as an array of `shape`, read-only and without a copy.

        Only for tensors that `check_tensor` has seen.
        """
        return np.frombuffer(self.data, DTYPES[self.dtype]).reshape(self.shape)


def check_tensor(tensor: Tensor, path: str, max_dims: int) -> NDArray[Any]:
    """Check dtype, shape, byte count and finiteness; return the read-only array.

    `path` leads the path in the `SchemaError` that is raised at the first fault. Nothing is
    allocated before the byte count agrees with the shape.
    """
    shape = tensor.shape
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None:
        raise SchemaError(f"{path}.dtype", _unknown_dtype(tensor.dtype))
    if not 1 <= len(shape) <= max_dims:
        raise SchemaError(f"{path}.shape", f"{len(shape)} axes; send 1 to {max_dims}")
    size = 1  # a Python int: no product of lengths can overflow it
    for length in shape:
        size *= length
    if size * dtype.itemsize != len(tensor.data) or min(shape) < 1:
        raise _size_fault(tensor, path, dtype.itemsize)
    array = np.frombuffer(tensor.data, dtype)
    if not is_sound(array, tensor.dtype):
        raise _value_fault(array.reshape(shape), path)
    return array.reshape(shape)


def is_sound(flat: NDArray[Any], name: str) -> bool:
    """Tell whether `(size,)` values are all finite, and proper booleans where they are bool."""
    if flat.dtype.kind == "f":
        return bool(np.isfinite(flat).all())
    return name != "bool" or int(flat.view(np.uint8).max()) <= 1


def _unknown_dtype(name: str) -> str:
    return f"unknown dtype {name[:40]!r}; use one of {', '.join(DTYPES)}"


def _size_fault(tensor: Tensor, path: str, itemsize: int) -> SchemaError:
    for axis, length in enumerate(tensor.shape):
        if length < 1:
            return SchemaError(
                f"{path}.shape[{axis}]", f"length {length}; every axis has 1 or more"
            )
    expected = math.prod(tensor.shape) * itemsize
    return SchemaError(
        f"{path}.data",
        f"{len(tensor.data)} bytes, but shape {list(tensor.shape)} of {tensor.dtype} "
        f"takes {expected}",
    )


def _value_fault(array: NDArray[Any], path: str) -> SchemaError:
    if array.dtype.kind == "b":
        fault, index = "a byte that is neither 0 nor 1", array.view(np.uint8).argmax()
    else:
        index = np.isfinite(array).argmin()
        fault = f"{array.flat[index]}; send finite values only"
    where = [int(i) for i in np.unravel_index(int(index), array.shape)]
    return SchemaError(f"{path}.data", f"value at {where} is {fault}")
