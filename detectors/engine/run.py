"""A run: consecutive events of one account whose arrays can be stacked, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.engine.account import Account
from gamekeeper.detectors.engine.arrival import Arrival
from gamekeeper.detectors.engine.policy import Change
from gamekeeper.detectors.engine.profile import DetectorProfile, Profile
from gamekeeper.detectors.engine.stacking import join, kind, stack, stack_all
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.verdict import Verdict, verdict_id


class Outcome(NamedTuple):
    """What one event led to.

    `first` is the index of its first query among the account's; `statistics` maps each detector
    to its `(n,)` statistics, NaN where not ready, and is empty for a model that is not watched.
    """

    arrival: Arrival
    first: int
    statistics: dict[str, Floats]
    verdicts: list[Verdict]


class Found(NamedTuple):
    """A change of one detector's standing at a row of the run, with the detector's evidence."""

    each: DetectorProfile
    row: int
    change: Change
    evidence: dict[str, Any]


def signature(arrival: Arrival) -> tuple[object, ...]:
    """Say which events can be stacked: rows of the same kind and features; orders are apart."""
    event = arrival.event
    if isinstance(event, CloseOrder):
        return ()
    features = tuple((name, each.shape[1:]) for name, each in (arrival.features or {}).items())
    return kind(event.inputs), kind(event.probabilities), features


class Run:
    """Stacked events; detectors fill in `statistics` and `found`."""

    def __init__(self, account: Account, profile: Profile, arrivals: Sequence[Arrival]) -> None:
        events = [each.event for each in arrivals if isinstance(each.event, QueryEvent)]
        sizes = [len(event) for event in events]
        self.account = account
        self.profile = profile
        self.arrivals = arrivals
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.owner = np.repeat(np.arange(len(events)), sizes)
        self.times = np.repeat(np.array([event.time for event in events], np.int64), sizes)
        self.statistics: dict[str, Floats] = {}
        self.found: list[Found] = []
        self.verdicts: list[list[Verdict]] = [[] for _ in events]
        features = [each.features or {} for each in arrivals]
        self.batch = Batch(
            first=account.queries,
            inputs=stack([event.inputs for event in events]),
            labels=np.array([label for event in events for label in event.labels], np.int64),
            probabilities=stack_all([event.probabilities for event in events]),
            features={name: join([each[name] for each in features]) for name in features[0]},
        )
        self._open = {name for name, each in account.standings.items() if each.finding is not None}

    def names(self, each: DetectorProfile) -> tuple[str, str, str, str, int]:
        """Give what the ids of this account's verdicts are made of, beside the query."""
        event = self.arrivals[0].event
        first_time = self.account.first_time
        return self.profile.hash, each.detector, event.account, event.model, first_time

    def outcomes(self) -> Iterator[Outcome]:
        """Cut what was found into one outcome per event."""
        for found in self.found:
            self.verdicts[int(self.owner[found.row])].append(self._verdict(found))
        for number, arrival in enumerate(self.arrivals):
            begin, end = int(self.starts[number]), int(self.starts[number + 1])
            statistics = {name: scores[begin:end] for name, scores in self.statistics.items()}
            yield Outcome(arrival, self.batch.first + begin, statistics, self.verdicts[number])

    def _agreeing(self, row: int) -> tuple[str, ...]:
        """Name the detectors that hold the account for an attacker after a row.

        Where alarms reset, a finding lasts no longer than its query.
        """
        latch = self.profile.policy.mode == "latch"
        standing = dict.fromkeys(self._open, True)
        for each, at, change, _ in sorted(self.found, key=lambda found: found.row):
            if at <= row:
                standing[each.detector] = change.activity != "close" and (latch or at == row)
        return tuple(sorted(name for name, alarmed in standing.items() if alarmed))

    def _verdict(self, found: Found) -> Verdict:
        each, row, change, evidence = found
        number = int(self.owner[row])
        event, source = self.arrivals[number][:2]
        query = self.batch.first + row
        assert isinstance(event, QueryEvent)
        assert each.threshold is not None  # resolved with the profile
        return Verdict(
            id=verdict_id(*self.names(each), query, change.activity),
            activity=change.activity,
            finding=change.finding,
            account=event.account,
            model=event.model,
            detector=each.detector,
            statistic=float(self.statistics[each.detector][row]),
            threshold=each.threshold,
            severity=change.severity,
            reason=change.reason,
            agreeing=self._agreeing(row),
            queries=query + 1,
            query=query,
            first_time=self.account.first_time,
            last_time=event.time,
            evidence=evidence,
            profile=self.profile.hash,
            promise=msgspec.to_builtins(self.profile.promise),
            topic=source.topic,
            partition=source.partition,
            offset=source.offset,
            row=row - int(self.starts[number]),
        )
