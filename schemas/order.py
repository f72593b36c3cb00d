"""The order to close a finding: how an analyst's decision reaches the worker.

It travels on the queries topic, keyed by account like the account's queries, so that it has a
place among them and a replay of the topic takes it at the same one. It is a JSON object; query
events are MessagePack maps, whose first byte is never that of `{`.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gamekeeper.schemas.wire import Time, decode_json

SCHEMA: Final = 1

_Name = Annotated[str, Meta(min_length=1, max_length=256)]


class CloseOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Close `finding` and let its detector begin anew; `time` is in microseconds since 1970."""

    schema: int = SCHEMA
    account: _Name
    model: _Name
    finding: _Name
    time: Time
    analyst: Annotated[str, Meta(max_length=256)] = ""
    note: Annotated[str, Meta(max_length=4096)] = ""

    def __len__(self) -> int:
        """Count the queries: an order has none."""
        return 0


_decoder: Final = msgspec.json.Decoder(CloseOrder)


def is_order(payload: bytes | None) -> bool:
    """Say whether a record of the queries topic is an order rather than a query event."""
    return payload is not None and payload[:1] == b"{"


def encode_order(order: CloseOrder) -> bytes:
    """Encode an order as JSON."""
    return msgspec.json.encode(order)


def decode_order(payload: bytes) -> CloseOrder:
    """Decode and check an order; raises `SchemaError` and nothing else."""
    return decode_json(payload, _decoder, SCHEMA)
