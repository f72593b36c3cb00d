"""Orders are told from query events by their first byte, and are checked like all that comes in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.event import QueryEvent, encode_event
from gamekeeper.schemas.order import CloseOrder, decode_order, encode_order, is_order
from gamekeeper.schemas.tensor import Tensor

ORDER = CloseOrder(
    account="a", model="m", finding="f", time=1, analyst="kim", note="a test of ours"
)


def test_an_order_survives_the_wire():
    """What is encoded is decoded."""
    payload = encode_order(ORDER)
    assert is_order(payload)
    assert decode_order(payload) == ORDER


def test_no_query_event_looks_like_an_order():
    """MessagePack maps begin with other bytes than JSON objects."""
    inputs = Tensor.from_array(np.zeros((1, 2), np.float32))
    event = QueryEvent(id="1", account="a", model="m", time=0, inputs=inputs, labels=[0])
    assert not is_order(encode_event(event))
    assert not is_order(None)
    assert not is_order(b"")


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (b"{", r"\$"),
        (b"{}", r"\$\.account"),
        (encode_order(ORDER).replace(b'"schema":1', b'"schema":7'), r"\$\.schema"),
        (encode_order(ORDER).replace(b'"time":1', b'"time":-1'), r"\$\.time"),
        (encode_order(ORDER).replace(b'"kim"', b'"\xff"'), r"\$"),
    ],
)
def test_a_fault_is_named_with_its_path(payload: bytes, path: str):
    """As in query events."""
    with pytest.raises(SchemaError, match=path):
        decode_order(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_order_or_a_schema_error(payload: bytes):
    """Nothing else is raised."""
    try:
        decode_order(payload)
    except SchemaError:
        return
