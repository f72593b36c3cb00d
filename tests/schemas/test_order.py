"""Orders are told from query events by their first byte, and are checked like all that comes in."""

from __future__ import annotations

from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.event import QueryEvent, encode_event
from gamekeeper.schemas.order import (
    CloseOrder,
    ProfileOrder,
    decode_order,
    decode_profile_order,
    encode_order,
    is_order,
    is_profile_order,
)
from gamekeeper.schemas.tensor import Tensor

ORDER = CloseOrder(
    account="a",
    model="m",
    finding="f",
    time=1,
    analyst="kim",
    note="a test of ours",
    disposition="benign",
)
PROFILE = ProfileOrder(app="gamekeeper", profile="0123456789abcdef", time=1)


def test_an_order_survives_the_wire():
    """What is encoded is decoded."""
    payload = encode_order(ORDER)
    assert is_order(payload)
    assert not is_profile_order(payload)
    assert decode_order(payload) == ORDER
    payload = encode_order(PROFILE)
    assert is_order(payload)
    assert is_profile_order(payload)
    assert decode_profile_order(payload) == PROFILE


def test_an_order_of_before_there_were_dispositions_says_none():
    """It is read unchanged."""
    old = encode_order(ORDER).replace(b',"disposition":"benign"', b"")
    assert decode_order(old) == msgspec.structs.replace(ORDER, disposition="")


def test_no_query_event_looks_like_an_order():
    """MessagePack maps begin with other bytes than JSON objects."""
    inputs = Tensor.from_array(np.zeros((1, 2), np.float32))
    event = QueryEvent(id="1", account="a", model="m", time=0, inputs=inputs, labels=[0])
    assert not is_order(encode_event(event))
    assert not is_order(None)
    assert not is_order(b"")
    assert not is_profile_order(encode_event(event))
    assert not is_profile_order(None)


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (b"{", r"\$"),
        (b"{}", r"\$\.account"),
        (encode_order(ORDER).replace(b'"schema":1', b'"schema":7'), r"\$\.schema"),
        (encode_order(ORDER).replace(b'"time":1', b'"time":-1'), r"\$\.time"),
        (encode_order(ORDER).replace(b'"kim"', b'"\xff"'), r"\$"),
        (encode_order(ORDER).replace(b'"benign"', b'"fine"'), r"\$\.disposition"),
    ],
)
def test_a_fault_is_named_with_its_path(payload: bytes, path: str):
    """As in query events."""
    with pytest.raises(SchemaError, match=path):
        decode_order(payload)


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (encode_order(PROFILE).replace(b'"profile":"0', b'"profile":"G'), r"\$\.profile"),
        (encode_order(PROFILE).replace(b"0123", b""), r"\$\.profile"),
        (encode_order(PROFILE).replace(b'"schema":1', b'"schema":2'), r"\$\.schema"),
        (b'{"order":"profile","app":"gamekeeper"}', r"\$\.profile"),
    ],
)
def test_a_fault_in_an_order_to_take_a_profile_is_named_with_its_path(payload: bytes, path: str):
    """It is told from the other order all the same."""
    assert is_profile_order(payload)
    with pytest.raises(SchemaError, match=path):
        decode_profile_order(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_order_or_a_schema_error(payload: bytes):
    """Nothing else is raised."""
    is_profile_order(b"{" + payload)
    for decode in (decode_order, decode_profile_order):
        with suppress(SchemaError):
            decode(payload)
