"""What the engine takes: an event or an order, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.order import CloseOrder

Key = tuple[str, str]
"""An account and a model: the unit that is watched."""

Features = Mapping[str, NDArray[np.float32]]
"""A feature's name to its `(n, d)` values, one row per query."""


class Source(NamedTuple):
    """Where an event was read from: a topic's record, or a trace's event number."""

    topic: str
    partition: int
    offset: int


class Arrival(NamedTuple):
    """An event, or an analyst's order among an account's events, with its source.

    `features` is None until the event has been through the featurizers.
    """

    event: QueryEvent | CloseOrder
    source: Source
    features: Features | None = None
