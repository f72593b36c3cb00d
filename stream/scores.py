"""Scores: every statistic of every event, as JSON on the scores topic, keyed by account.

Optional and large; it is how thresholds are examined on live traffic.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from gamekeeper.detectors.engine import Outcome
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.wire import Time, decode_json

SCHEMA: Final = 1


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """One event's statistics: per detector one per query, None while it is not yet ready.

    `query` is the index of the first of them among the account's queries to the model; `time` is
    the event's, in microseconds since 1970.
    """

    schema: int = SCHEMA
    account: str
    model: str
    event: str
    query: int
    time: Time
    statistics: dict[str, list[float | None]]


_decoder = msgspec.json.Decoder(Scores)


def encode_scores(event: QueryEvent, outcome: Outcome) -> bytes:
    """Encode what the detectors said of one event."""
    scores = Scores(
        account=event.account,
        model=event.model,
        event=event.id,
        query=outcome.first,
        time=event.time,
        statistics={
            name: [None if math.isnan(value) else value for value in values.tolist()]
            for name, values in outcome.statistics.items()
        },
    )
    return msgspec.json.encode(scores)


def decode_scores(payload: bytes) -> Scores:
    """Decode a scores record; raises `SchemaError` and nothing else."""
    return decode_json(payload, _decoder, SCHEMA)
