"""A stretch: consecutive queries of one account as arrays, with the events that they came in.

The service makes stretches of events, replay of a trace's columns; from here on both are scored by
the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.engine.arrival import Arrival, Key, Source
from gamekeeper.detectors.engine.stacking import join, kind, stack, stack_all
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.order import CloseOrder


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive queries of one account to one model.

    `batch` has `n` queries; `sources` says of each event where it was read, `starts`
    `(events + 1,)` int64 with which row it begins (below 0 where it began before), and at last `n`.
    """

    key: Key
    batch: Batch
    sources: Sequence[Source]
    starts: NDArray[np.int64]

    def event(self, row: int) -> int:
        """Say in which of the events a row is."""
        return int(np.searchsorted(self.starts, row, side="right")) - 1

    def part(self, first: int, end: int) -> Stretch:
        """Give the events from one to another, which is not among them."""
        if (first, end) == (0, len(self.sources)):
            return self
        begin = self.starts[first]
        return Stretch(
            self.key,
            self.batch[begin : self.starts[end]],
            self.sources[first:end],
            self.starts[first : end + 1] - begin,
        )

    def with_batch(self, batch: Batch) -> Stretch:
        """Give the same stretch with other arrays, such as features added to them."""
        return replace(self, batch=batch)


def signature(arrival: Arrival) -> tuple[object, ...]:
    """Say which events can be in one stretch: rows of one kind and features; orders are apart."""
    event = arrival.event
    if isinstance(event, CloseOrder):
        return ()
    features = tuple((name, each.shape[1:]) for name, each in (arrival.features or {}).items())
    return kind(event.inputs), kind(event.probabilities), features


def stretch_of(arrivals: Sequence[Arrival], first: int) -> Stretch:
    """Stack events of one account and one `signature`; `first` is the index of the first query."""
    events = [each.event for each in arrivals if isinstance(each.event, QueryEvent)]
    sizes = [len(event) for event in events]
    features = [each.features or {} for each in arrivals]
    return Stretch(
        key=(events[0].account, events[0].model),
        batch=Batch(
            first=first,
            inputs=stack([event.inputs for event in events]),
            labels=np.array([label for event in events for label in event.labels], np.int64),
            probabilities=stack_all([event.probabilities for event in events]),
            features={name: join([each[name] for each in features]) for name in features[0]},
            times=np.repeat(np.array([event.time for event in events], np.int64), sizes),
        ),
        sources=[each.source for each in arrivals],
        starts=np.concatenate([[0], np.cumsum(sizes)]),
    )
