"""Scores: every statistic of every event, as JSON on the scores topic, keyed by account.

Optional and large; it is how thresholds are examined on live traffic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

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


def encode_scores(
    event: QueryEvent, first: int, statistics: Mapping[str, NDArray[np.float64]]
) -> bytes:
    """Encode what the detectors said of one event, whose first row is the account's query `first`.

    `statistics` has the `(n,)` statistics of each detector, NaN where it is not yet ready.
    """
    scores = Scores(
        account=event.account,
        model=event.model,
        event=event.id,
        query=first,
        time=event.time,
        statistics={
            name: [None if math.isnan(value) else value for value in values.tolist()]
            for name, values in statistics.items()
        },
    )
    return msgspec.json.encode(scores)


def decode_scores(payload: bytes) -> Scores:
    """Decode a scores record; raises `SchemaError` and nothing else."""
    return decode_json(payload, _decoder, SCHEMA)
