"""Orders: to close a finding, and to take a profile from here on.

They travel on the queries topic, so that they have a place among the queries, and a replay of the
topic takes them at the same one. The order to close is keyed by account like the account's queries.
The order to take a profile is written to every partition, and is about all accounts there. Both are
JSON objects; query events are MessagePack maps, whose first byte is never that of `{`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from gamekeeper.schemas.verdict import Disposition
from gamekeeper.schemas.wire import FAULTS, Time, decode_json

SCHEMA: Final = 1

_Name = Annotated[str, Meta(min_length=1, max_length=256)]


class CloseOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Close `finding` and let its detector begin anew; `time` is in microseconds since 1970.

    `disposition` is what the finding turned out to be; empty where the analyst does not say.
    """

    schema: int = SCHEMA
    account: _Name
    model: _Name
    finding: _Name
    time: Time
    analyst: Annotated[str, Meta(max_length=256)] = ""
    note: Annotated[str, Meta(max_length=4096)] = ""
    disposition: Disposition | Literal[""] = ""

    def __len__(self) -> int:
        """Count the queries: an order has none."""
        return 0


class ProfileOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Judge what follows in this partition by the profile of a hash.

    It is for the service whose `GAMEKEEPER_APP_ID` is `app`: others may read the same topic. `time`
    is in microseconds since 1970.
    """

    schema: int = SCHEMA
    order: Literal["profile"] = "profile"
    app: _Name
    profile: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    time: Time


class _Kind(msgspec.Struct):
    """What tells orders apart; the order to close, which came first, has no such field."""

    order: str = ""


_decoder: Final = msgspec.json.Decoder(CloseOrder)
_profile_decoder: Final = msgspec.json.Decoder(ProfileOrder)
_kind_decoder: Final = msgspec.json.Decoder(_Kind)


def is_order(payload: bytes | None) -> bool:
    """Say whether a record of the queries topic is an order rather than a query event."""
    return payload is not None and payload[:1] == b"{"


def is_profile_order(payload: bytes | None) -> bool:
    """Say whether a record of the queries topic means to be an order to take a profile."""
    if payload is None or not is_order(payload):
        return False
    try:
        return _kind_decoder.decode(payload).order == "profile"
    except FAULTS:
        return False


def encode_order(order: CloseOrder | ProfileOrder) -> bytes:
    """Encode an order as JSON."""
    return msgspec.json.encode(order)


def decode_order(payload: bytes) -> CloseOrder:
    """Decode and check an order to close; raises `SchemaError` and nothing else."""
    return decode_json(payload, _decoder, SCHEMA)


def decode_profile_order(payload: bytes) -> ProfileOrder:
    """Decode and check an order to take a profile; raises `SchemaError` and nothing else."""
    return decode_json(payload, _profile_decoder, SCHEMA)
