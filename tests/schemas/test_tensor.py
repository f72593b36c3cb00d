"""Tensors: what goes in comes out, and what is broken is refused by path."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.tensor import DTYPES, Tensor, check_tensor

arrays = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: hnp.arrays(
        np.dtype(name),
        hnp.array_shapes(min_dims=1, max_dims=5, max_side=4),
        elements=hnp.from_dtype(np.dtype(name), allow_nan=False, allow_infinity=False),
    )
)


def refusal(tensor: Tensor, max_dims: int = 8) -> SchemaError:
    """Return what `check_tensor` raises."""
    with pytest.raises(SchemaError) as caught:
        check_tensor(tensor, "$.x", max_dims)
    return caught.value


@settings(max_examples=400, deadline=None)
@given(arrays)
def test_round_trip(array: NDArray[Any]) -> None:
    """Every dtype and shape comes back equal, and its bytes are numpy's own little-endian ones."""
    tensor = Tensor.from_array(array)
    assert tensor.data == array.astype(array.dtype.newbyteorder("<")).tobytes(order="C")
    for back in (tensor.array(), check_tensor(tensor, "$", 8)):
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


@given(arrays, st.booleans())
def test_any_layout_gives_the_same_tensor(array: NDArray[Any], big: bool) -> None:
    """Fortran order, reversed views and big-endian values are written like a plain copy."""
    plain = Tensor.from_array(np.ascontiguousarray(array[::-1]))
    other = np.asfortranarray(array)[::-1]
    if big:
        other = other.astype(other.dtype.newbyteorder(">"))
    assert Tensor.from_array(other) == plain


def test_arrays_are_read_only_views() -> None:
    """An array made of a tensor cannot be written to, and lies on the tensor's own bytes."""
    tensor = Tensor.from_array(np.zeros((2, 3)))
    array = tensor.array()
    assert not array.flags.writeable
    assert np.shares_memory(array, np.frombuffer(tensor.data, np.uint8))


def test_a_tensor_does_not_follow_its_source() -> None:
    """Changing the array after `from_array` leaves the tensor as it was."""
    source = np.ones((2, 2), np.float32)
    tensor = Tensor.from_array(source)
    source[:] = 7
    assert (tensor.array() == 1).all()


@pytest.mark.parametrize("array", [np.zeros(2, complex), np.array(["a"]), np.array([None])])
def test_unsupported_dtypes_cannot_be_written(array: NDArray[Any]) -> None:
    """Complex numbers, text and objects are refused with the list of what may be sent."""
    with pytest.raises(SchemaError, match="float32"):
        Tensor.from_array(array)


def test_a_scalar_has_no_rows() -> None:
    """An array without axes is refused."""
    with pytest.raises(SchemaError, match="at least one axis"):
        Tensor.from_array(np.float32(1))


@pytest.mark.parametrize(
    ("tensor", "path"),
    [
        (Tensor("float8", (1,), b"\0"), "$.x.dtype"),
        (Tensor(">f4", (1,), b"\0\0\0\0"), "$.x.dtype"),
        (Tensor("uint8", (), b"\0"), "$.x.shape"),
        (Tensor("uint8", (1,) * 9, b"\0"), "$.x.shape"),
        (Tensor("uint8", (0, 3), b""), "$.x.shape[0]"),
        (Tensor("uint8", (2, 0), b""), "$.x.shape[1]"),
        (Tensor("uint8", (2, -1, -1), b"\0\0"), "$.x.shape[1]"),
        (Tensor("uint8", (2, 2), b"\0\0\0"), "$.x.data"),
        (Tensor("float64", (1,), b"\0" * 9), "$.x.data"),
        (Tensor("float32", (2**62, 2**62, 4), b""), "$.x.data"),
        (Tensor("uint8", (2**32, 2**32), b""), "$.x.data"),  # the product is 0 modulo 2**64
        (Tensor("bool", (2, 2), b"\0\1\2\0"), "$.x.data"),
    ],
)
def test_faults_are_named_by_path(tensor: Tensor, path: str) -> None:
    """Each fault is refused at its own path, sizes that no memory could hold included."""
    assert refusal(tensor).path == path


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(name: str, value: float) -> None:
    """NaN and infinities are refused, saying where the first of them is."""
    array = np.ones((2, 3), name)
    array[1, 2] = value
    error = refusal(Tensor.from_array(array))
    assert error.path == "$.x.data"
    assert "[1, 2]" in error.reason


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_the_largest_finite_values_are_accepted(name: str) -> None:
    """The range of a dtype can be used to its ends."""
    limit = np.finfo(name).max
    array = np.array([[limit, -limit]] * 500, name)
    np.testing.assert_array_equal(check_tensor(Tensor.from_array(array), "$", 8), array)
