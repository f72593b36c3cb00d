"""Query events: round trips, every fault by its path, headers, and the compatibility rule."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.event import (
    Limits,
    QueryEvent,
    decode_event,
    encode_event,
    event_headers,
    event_key,
)
from gamekeeper.schemas.tensor import DTYPES, Tensor

MakeEvent = Callable[..., QueryEvent]
DROP = object()


def wire(array: NDArray[Any]) -> dict[str, Any]:
    """Write a tensor as a producer without this library would."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": little.tobytes()}


def plain(**changes: Any) -> dict[str, Any]:
    """Write an event of two rows as a producer without this library would."""
    fields = {
        "id": "request-1",
        "account": "ada",
        "model": "digits",
        "time": 1_700_000_000_000_000,
        "inputs": wire(np.ones((2, 3), np.float32)),
        "labels": [0, 9],
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not DROP}


def refusal(payload: bytes, limits: Limits | None = None) -> SchemaError:
    """Return what `decode_event` raises."""
    with pytest.raises(SchemaError) as caught:
        decode_event(payload, limits or Limits())
    return caught.value


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=256)
names = texts.filter(bool)


@st.composite
def events(draw: st.DrawFn) -> QueryEvent:
    """Draw any valid event."""
    rows = draw(st.integers(1, 4))
    dtype = np.dtype(draw(st.sampled_from(sorted(DTYPES))))
    finite = hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)
    shape = (rows, *draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)))
    inputs = draw(hnp.arrays(dtype, shape, elements=finite))
    units = hnp.arrays(np.float32, (rows, 3), elements=st.floats(0, 1, width=32))
    features = hnp.arrays(np.float16, (rows, 2), elements=st.floats(-9, 9, width=16))
    return QueryEvent(
        id=draw(names),
        account=draw(names),
        model=draw(names),
        model_version=draw(texts),
        time=draw(st.integers(0, 32_503_680_000_000_000 - 1)),
        inputs=Tensor.from_array(inputs),
        labels=draw(st.lists(st.integers(0, 2**31 - 1), min_size=rows, max_size=rows)),
        probabilities=draw(st.none() | units.map(Tensor.from_array)),
        embedding=draw(st.none() | features.map(Tensor.from_array)),
        sampling=draw(st.floats(0, 1, exclude_min=True)),
    )


@settings(max_examples=300, deadline=None)
@given(events())
def test_round_trip(event: QueryEvent) -> None:
    """Every valid event comes back equal, and encodes to the same bytes again."""
    payload = encode_event(event)
    back = decode_event(payload)
    assert back == event
    assert encode_event(back) == payload
    assert len(back) == len(event.labels)


def test_a_producer_needs_no_library() -> None:
    """A hand-made map of only the required fields is an event with the stated defaults."""
    event = decode_event(msgspec.msgpack.encode(plain()))
    assert (event.schema, event.model_version, event.sampling) == (1, "", 1.0)
    assert (event.probabilities, event.embedding) == (None, None)
    np.testing.assert_array_equal(event.inputs.array(), np.ones((2, 3)))


ONES = np.ones((2, 3), np.float32)
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("$.id", {"id": DROP}),
    ("$.id", {"id": ""}),
    ("$.id", {"id": 7}),
    ("$.id", {"id": "x" * 257}),
    ("$.account", {"account": ""}),
    ("$.account", {"account": "a" * 257}),
    ("$.account", {"account": "ada\0"}),
    ("$.account", {"account": b"ada"}),
    ("$.model", {"model": ""}),
    ("$.model_version", {"model_version": "v" * 257}),
    ("$.time", {"time": -1}),
    ("$.time", {"time": 1.5}),
    ("$.time", {"time": 1_700_000_000_000_000_000}),  # nanoseconds, by mistake
    ("$.sampling", {"sampling": 0}),
    ("$.sampling", {"sampling": 1.01}),
    ("$.sampling", {"sampling": float("nan")}),
    ("$.labels", {"labels": DROP}),
    ("$.labels", {"labels": [1]}),
    ("$.labels", {"labels": []}),
    ("$.labels[1]", {"labels": [1, -1]}),
    ("$.labels[1]", {"labels": [1, 2**31]}),
    ("$.labels[0]", {"labels": [1.0, 2]}),
    ("$.labels[0]", {"labels": [True, 2]}),
    ("$.inputs", {"inputs": DROP}),
    ("$.inputs", {"inputs": None}),
    ("$.inputs.dtype", {"inputs": {"shape": [2], "data": b"ab"}}),
    ("$.inputs.dtype", {"inputs": {"dtype": "f4", "shape": [2], "data": b"ab"}}),
    ("$.inputs.shape", {"inputs": {"dtype": "uint8", "shape": [], "data": b""}}),
    ("$.inputs.shape", {"inputs": {"dtype": "uint8", "shape": [1] * 9, "data": b"a"}}),
    ("$.inputs.shape[0]", {"inputs": {"dtype": "uint8", "shape": [0, 2], "data": b""}}),
    ("$.inputs.shape[1]", {"inputs": {"dtype": "uint8", "shape": [2, -2], "data": b"ab"}}),
    ("$.inputs.data", {"inputs": {"dtype": "uint8", "shape": [2**40, 2**40], "data": b"ab"}}),
    ("$.inputs.data", {"inputs": {"dtype": "uint8", "shape": [2], "data": "ab"}}),
    ("$.inputs.data", {"inputs": wire(ONES * np.nan)}),
    ("$.probabilities.dtype", {"probabilities": wire(np.ones((2, 3), np.int32))}),
    ("$.probabilities.shape", {"probabilities": wire(np.ones(2))}),
    ("$.probabilities.shape", {"probabilities": wire(np.ones((2, 1, 1)))}),
    ("$.probabilities.shape[0]", {"probabilities": wire(np.ones((3, 2)))}),
    ("$.probabilities.data", {"probabilities": wire(ONES * 1.01)}),
    ("$.probabilities.data", {"probabilities": wire(ONES * -0.01)}),
    ("$.probabilities.data", {"probabilities": wire(ONES * np.inf)}),
    ("$.embedding.shape[0]", {"embedding": wire(np.ones((1, 2)))}),
    ("$.embedding.dtype", {"embedding": wire(np.ones((2, 2), np.uint8))}),
    ("$.embedding.data", {"embedding": wire(np.full((2, 2), 1e39))}),
    ("$.schema", {"schema": 0}),
    ("$.schema", {"schema": "1"}),
]


@pytest.mark.parametrize(("path", "changes"), FAULTS)
def test_faults_are_named_by_path(path: str, changes: dict[str, Any]) -> None:
    """Each broken field is refused at its own path."""
    assert refusal(msgspec.msgpack.encode(plain(**changes))).path == path


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x80\x80",
        b"\xc0",
        b"not MessagePack",
        b"\x91" * 100_000,
        b"\x81\xa1x" + b"\x91" * 100_000,
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa6labels\xdd\xff\xff\xff\xff\x01",
        b"\x81\xa7account\xdb\xff\xff\xff\xffa",
        b"\x81\xa2id\xa2\xff\xfe",
        b"\x81\xa7account\xa3\xed\xa0\x80",  # a surrogate, which UTF-8 does not allow
    ],
)
def test_malformed_payloads_are_refused(payload: bytes) -> None:
    """Bytes that are no event at all give the schema error, lengths beyond memory included."""
    assert refusal(payload).path.startswith("$")


def test_a_record_without_value_is_refused() -> None:
    """A tombstone is no event."""
    with pytest.raises(SchemaError, match="no value"):
        decode_event(None)  # type: ignore[arg-type]


def test_limits_hold(make_event: MakeEvent) -> None:
    """Bytes, rows, axes and characters are bounded by the limits in force."""
    payload = encode_event(make_event(rows=3))
    assert decode_event(payload, Limits(max_bytes=len(payload), max_rows=3, max_dims=3))
    assert refusal(payload, Limits(max_bytes=len(payload) - 1)).path == "$"
    assert refusal(payload, Limits(max_rows=2)).path == "$.inputs.shape[0]"
    assert refusal(payload, Limits(max_dims=2)).path == "$.inputs.shape"
    assert refusal(payload, Limits(max_id=8)).path == "$.id"


def test_other_control_characters_are_kept(make_event: MakeEvent) -> None:
    """An account is watched under any name but one with NUL, terminal escapes included."""
    event = make_event(account="ada\n\x1b[31m\x85\u202e")
    assert decode_event(encode_event(event)) == event


def test_unknown_fields_are_ignored() -> None:
    """An event with fields of a later minor version is read as if they were not there."""
    extended = plain(schema=1, region="eu", inputs=wire(ONES) | {"quantised": True})
    assert decode_event(msgspec.msgpack.encode(extended)) == decode_event(
        msgspec.msgpack.encode(plain())
    )


def test_a_newer_schema_number_says_to_upgrade() -> None:
    """A greater number is refused as such, even where its fields have other types."""
    for changes in ({}, {"inputs": [1, 2]}, {"labels": DROP}):
        error = refusal(msgspec.msgpack.encode(plain(schema=2, **changes)))
        assert error.path == "$.schema"
        assert "upgrade" in error.reason


def test_decoded_arrays_alias_nothing_writable(make_event: MakeEvent) -> None:
    """Reusing the receive buffer does not change an event that was decoded from it."""
    event = make_event()
    buffer = bytearray(encode_event(event))
    decoded = decode_event(buffer)  # type: ignore[arg-type]
    buffer[:] = bytes(len(buffer))
    assert decoded == event
    assert not decoded.inputs.array().flags.writeable


@pytest.mark.parametrize("changes", [{"account": "\ud800"}, {"time": 2**70}, {"labels": [2**70]}])
def test_what_cannot_be_encoded_is_refused(make_event: MakeEvent, changes: dict[str, Any]) -> None:
    """Lone surrogates and integers over 64 bits raise the schema error on the sender's side."""
    with pytest.raises(SchemaError):
        encode_event(make_event(**changes))


def test_headers_follow_cloudevents(make_event: MakeEvent) -> None:
    """The headers are those of CloudEvents' Kafka binding in binary mode."""
    assert event_headers(make_event(id="é", time=1_700_000_000_000_001), "/tap/host-1") == [
        ("ce_specversion", b"1.0"),
        ("ce_id", "é".encode()),
        ("ce_type", b"gamekeeper.query"),
        ("ce_source", b"/tap/host-1"),
        ("ce_time", b"2023-11-14T22:13:20.000001Z"),
        ("content-type", b"application/vnd.msgpack"),
    ]


def test_headers_of_an_impossible_time_are_refused(make_event: MakeEvent) -> None:
    """A time beyond the calendar raises the schema error on the sender's side."""
    with pytest.raises(SchemaError, match=r"\$\.time"):
        event_headers(make_event(time=2**62), "/tap")


def test_the_tap_needs_no_arrow() -> None:
    """Reading and writing events imports nothing that a model server might not have."""
    code = "import sys, gamekeeper.schemas.event; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pyarrow", "scipy", "faust", "click"} & set(done.stdout.split())


def test_key_is_the_account() -> None:
    """The record's key is the account in UTF-8; what is not text has none."""
    assert event_key("zoë") == "zoë".encode()
    with pytest.raises(SchemaError, match=r"\$\.account"):
        event_key("\udcff")
