"""The query event: one inference request, as it travels on the topic `gamekeeper.queries`.

**For producers in any language.** One Kafka record per inference request:

* Key: the account id in UTF-8, so that one account stays on one partition and in order.
* Value: a MessagePack map with the field names of `QueryEvent` as keys; tensors are maps of
  `dtype`, `shape` and `data` (see `gamekeeper.schemas.tensor`), `data` being MessagePack bin.
  `query-event.schema.json`, beside this file, describes it.
* Headers: CloudEvents' Kafka binding in binary mode: `ce_specversion` ("1.0"), `ce_id` (the
  event's `id`), `ce_type` ("gamekeeper.query"), `ce_source` (a URI reference of the server that
  sends), `ce_time` (RFC 3339, UTC), `content-type` ("application/vnd.msgpack"). Readers decide by
  the value alone.
* Give each request an `id` of its own and keep it when sending again. Send the accounts' requests
  in the order in which they were answered. Tap all of an account's requests or none of them, and
  put the fraction of accounts that is tapped into `sampling`.

**Compatibility.** Unknown fields are ignored; a field that is added is optional and keeps the
`schema` number; the number grows only when an old reader would misread. A reader accepts every
number that it knows (so far: 1), and answers any greater one with a `SchemaError` that says to
upgrade.

**Text.** Ids are any valid UTF-8 without NUL, compared code point by code point. Other control
characters are kept as they are: to refuse them would let an account choose a name under which it
is not watched. Whoever prints ids escapes them. Surrogates are not valid UTF-8 and are refused.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from gamekeeper.schemas.errors import SchemaError, WrongKeyError
from gamekeeper.schemas.tensor import Tensor, check_tensor
from gamekeeper.schemas.wire import FAULTS, YEAR_3000, Number, Time, decoding_fault

SCHEMA: Final = 1
EVENT_TYPE: Final = "gamekeeper.query"
CONTENT_TYPE: Final = "application/vnd.msgpack"  # IANA's registered name

# Softmax in float16, or rounded in transit, strays this far from [0, 1].
PROBABILITY_SLACK: Final = 1e-3
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)

LARGEST_LABEL: Final = 2**31 - 1
Label = Annotated[int, Meta(ge=0, le=LARGEST_LABEL)]


class QueryEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One inference request of one account: `n` queries, their answers and when it was."""

    schema: Annotated[int, Meta(description="Number of this contract.")] = SCHEMA
    id: Annotated[str, Meta(min_length=1, description="Unique per request; kept on resending.")]
    account: Annotated[str, Meta(min_length=1, description="Whoever the request is billed to.")]
    model: Annotated[str, Meta(min_length=1, description="The protected model.")]
    model_version: Annotated[str, Meta(description="The model's version, where known.")] = ""
    time: Annotated[Time, Meta(description="When it was answered; microseconds since 1970.")]
    inputs: Annotated[Tensor, Meta(description="The queries, `[n, ...]`.")]
    labels: Annotated[list[Label], Meta(description="Top-1 class of each query.")]
    probabilities: Annotated[
        Tensor | None,
        Meta(description="Class probabilities `[n, k]`, a floating dtype, in [0, 1]."),
    ] = None
    embedding: Annotated[
        Tensor | None,
        Meta(description="Features `[n, d]` that the server already has, a floating dtype."),
    ] = None
    sampling: Annotated[
        float, Meta(gt=0, le=1, description="Fraction of the accounts that is tapped.")
    ] = 1.0

    def __len__(self) -> int:
        """Count the queries (rows)."""
        return len(self.labels)


class Limits(msgspec.Struct, frozen=True):
    """How large an event may be: bytes of payload, rows, axes of a tensor, characters of an id."""

    max_bytes: int = 8 * 2**20
    max_rows: int = 4096
    max_dims: int = 8
    max_id: int = 256


DEFAULT_LIMITS: Final = Limits()


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(QueryEvent)
_number_decoder: Final = msgspec.msgpack.Decoder(Number)


def encode_event(event: QueryEvent) -> bytes:
    """Encode an event as a MessagePack map; `decode_event` is what checks it.

    Raises `SchemaError` only for what cannot be written: lone surrogates, integers over 64 bits.
    """
    try:
        return _encoder.encode(event)
    except (UnicodeError, OverflowError, TypeError) as error:
        raise SchemaError("$", f"cannot be encoded: {error}") from error


def decode_event(payload: bytes, limits: Limits = DEFAULT_LIMITS) -> QueryEvent:
    """Decode and check an event; the arrays made of it are read-only.

    Raises `SchemaError`, with the path to the first fault, and nothing else.
    """
    if not payload:
        raise SchemaError("$", "the record has no value; send one MessagePack map per request")
    _check_size(len(payload), limits)
    try:
        event = _decoder.decode(payload)
    except FAULTS as error:
        raise _decoding_fault(payload, error) from error
    _check(event, limits)
    return event


def check_event(event: QueryEvent, limits: Limits = DEFAULT_LIMITS) -> None:
    """Check an event that was built here: whatever passes, `decode_event` would take.

    Raises `SchemaError`, with the path to the first fault, and nothing else.
    """
    tensors = (event.inputs, event.probabilities, event.embedding)
    nbytes = sum(len(each.data) for each in tensors if each is not None)
    # Ids, framing and labels take far less than half of what is allowed: other events are small.
    if 2 * nbytes > limits.max_bytes:
        _check_size(len(encode_event(event)), limits)
    _check_bounds(event)
    _check(event, limits)


def _check_size(nbytes: int, limits: Limits) -> None:
    if nbytes > limits.max_bytes:
        raise SchemaError("$", f"{nbytes} bytes, at most {limits.max_bytes}; split it")


def _check_bounds(event: QueryEvent) -> None:
    """Check what the types say and only decoding would look at."""
    for name in ("id", "account", "model"):
        if not getattr(event, name):
            raise SchemaError(f"$.{name}", "is empty; give it at least one character")
    if not 0 <= event.time < YEAR_3000:
        raise SchemaError("$.time", f"{event.time} is no time in microseconds since 1970")
    if not 0 < event.sampling <= 1:
        raise SchemaError("$.sampling", f"{event.sampling:g} is no fraction above 0 and up to 1")
    for row, label in enumerate(event.labels):
        if not 0 <= label <= LARGEST_LABEL:
            raise SchemaError(f"$.labels[{row}]", f"{label} is no class number from 0")


def _check(event: QueryEvent, limits: Limits) -> None:
    """Check what the types do not say: the `schema` number, sizes, rows that agree, values."""
    if event.schema != SCHEMA:
        raise _unknown_schema(event.schema)
    _check_text(event, limits.max_id)
    rows = len(event.labels)
    inputs = check_tensor(event.inputs, "$.inputs", limits.max_dims)
    if len(inputs) > limits.max_rows:
        raise SchemaError(
            "$.inputs.shape[0]", f"{len(inputs)} rows, at most {limits.max_rows}; split the event"
        )
    if len(inputs) != rows:
        raise SchemaError("$.labels", f"{rows} labels for {len(inputs)} rows of inputs")
    if event.probabilities is not None:
        values = _check_matrix(event.probabilities, "$.probabilities", rows)
        low, high = float(values.min()), float(values.max())
        if low < -PROBABILITY_SLACK or high > 1 + PROBABILITY_SLACK:
            raise SchemaError(
                "$.probabilities.data",
                f"values from {low:g} to {high:g}; send probabilities in [0, 1], not logits",
            )
    if event.embedding is not None:
        values = _check_matrix(event.embedding, "$.embedding", rows)
        if values.dtype.itemsize > 4 and float(np.abs(values).max()) > _FLOAT32_MAX:
            raise SchemaError("$.embedding.data", "a value is beyond the range of float32")


def _check_text(event: QueryEvent, longest: int) -> None:
    for name in ("id", "account", "model", "model_version"):
        text = getattr(event, name)
        if len(text) > longest:
            raise SchemaError(f"$.{name}", f"{len(text)} characters, at most {longest}")
        if "\0" in text:
            raise SchemaError(f"$.{name}", "contains NUL (U+0000); remove it")


def _check_matrix(tensor: Tensor, path: str, rows: int) -> NDArray[Any]:
    values = check_tensor(tensor, path, 2)
    if values.ndim != 2:
        raise SchemaError(f"{path}.shape", f"{values.ndim} axes; send 2, rows and columns")
    if values.dtype.kind != "f":
        raise SchemaError(f"{path}.dtype", f"{tensor.dtype}; send float16, float32 or float64")
    if len(values) != rows:
        raise SchemaError(f"{path}.shape[0]", f"{len(values)} rows for {rows} rows of inputs")
    return values


def _unknown_schema(number: int) -> SchemaError:
    if number > SCHEMA:
        advice = f"{number} is newer than {SCHEMA}, the newest known here; upgrade gamekeeper"
    else:
        advice = f"{number} was never used; send {SCHEMA}"
    return SchemaError("$.schema", advice)


def _decoding_fault(payload: bytes, error: Exception) -> SchemaError:
    """Say where decoding failed; a newer `schema` number explains every mistyped field."""
    try:
        number = _number_decoder.decode(payload).schema
    except FAULTS:
        number = SCHEMA
    if number > SCHEMA:
        return _unknown_schema(number)
    return decoding_fault(error)


def event_headers(event: QueryEvent, source: str) -> list[tuple[str, bytes]]:
    """Make the record's headers: CloudEvents 1.0, Kafka binding, binary mode.

    `source` is a URI reference of the server that sends, such as `/tap/host-1`. Raises
    `SchemaError` for text that is not valid UTF-8 and for times beyond the calendar.
    """
    try:
        moment = _EPOCH + timedelta(microseconds=event.time)
    except OverflowError as error:
        raise SchemaError("$.time", f"{event.time} is no time in microseconds") from error
    attributes = (
        ("ce_specversion", "1.0"),
        ("ce_id", event.id),
        ("ce_type", EVENT_TYPE),
        ("ce_source", source),
        ("ce_time", moment.isoformat(timespec="microseconds").replace("+00:00", "Z")),
        ("content-type", CONTENT_TYPE),
    )
    return [(name, _utf8(value, "$.headers." + name)) for name, value in attributes]


def event_key(account: str) -> bytes:
    """Make the record's key: the account in UTF-8, so that it stays on one partition."""
    return _utf8(account, "$.account")


def check_key(key: bytes | None, account: str) -> None:
    """Raise `WrongKeyError` unless a record's key is the account that its value names."""
    if key != event_key(account):
        raise WrongKeyError


def _utf8(text: str, path: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise SchemaError(path, f"text that is not valid UTF-8: {error}") from error
