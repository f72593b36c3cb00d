"""The engine: query events in; statistics and verdicts out.

The online service and offline evaluation call this and nothing else, so that a replay gives what
the live service gave. It holds the accounts' live state; where that is kept, is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.account import Account
from gamekeeper.detectors.base import EMBEDDING, Batch, Detector, Floats
from gamekeeper.detectors.policy import SEVERITIES, Change, Standing, close, judge
from gamekeeper.detectors.profile import DetectorProfile, Profile
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Verdict, finding_id, verdict_id

Key = tuple[str, str]
"""An account and a model: the unit that is watched."""


class Source(NamedTuple):
    """Where an event was read from: a topic's record, or a trace's event number."""

    topic: str
    partition: int
    offset: int


class Arrival(NamedTuple):
    """An event, or an analyst's order among an account's events, with its source."""

    event: QueryEvent | CloseOrder
    source: Source


class Outcome(NamedTuple):
    """What one event led to.

    `first` is the index of its first query among the account's; `statistics` maps each detector
    to its `(n,)` statistics, NaN where not ready, and is empty for a model that is not watched.
    """

    arrival: Arrival
    first: int
    statistics: dict[str, Floats]
    verdicts: list[Verdict]


class Engine:
    """Runs a profile's detectors over events, per account and model.

    `accounts` is the live state. A caller may put restored accounts into it before `process` and
    take cold ones out after it; an account that is not there begins anew.

    >>> import numpy as np
    >>> from gamekeeper.detectors.profile import default_profile
    >>> from gamekeeper.schemas.tensor import Tensor
    >>> inputs = Tensor.from_array(np.zeros((2, 4), np.float32))
    >>> event = QueryEvent(id="1", account="a", model="m", time=0, inputs=inputs, labels=[0, 1])
    >>> engine = Engine(default_profile())
    >>> [outcome] = engine.process([Arrival(event, Source("queries", 0, 0))])
    >>> outcome.statistics["prada"]
    array([nan, nan])
    """

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.accounts: dict[Key, Account] = {}

    def process(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """Take events in the order of their accounts' sources; one outcome each, same order.

        Events of one account and model are scored together. Should a detector raise, the accounts
        of these arrivals are in an undefined state: drop them and restore them.
        """
        outcomes: list[Outcome | None] = [None] * len(arrivals)
        for key, places in _by_account(arrivals).items():
            own = [arrivals[place] for place in places]
            for place, outcome in zip(places, self._account(key, own), strict=True):
                outcomes[place] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def _account(self, key: Key, arrivals: list[Arrival]) -> Iterator[Outcome]:
        if not self.profile.watches(key[1]):
            yield from (Outcome(arrival, 0, {}, []) for arrival in arrivals)
            return
        account = self.accounts.get(key)
        if account is None:
            account = self.accounts[key] = Account(self.profile)
        for _, run in groupby(arrivals, key=_signature):
            yield from self._run(account, list(run))

    def _run(self, account: Account, arrivals: list[Arrival]) -> Iterator[Outcome]:
        """Take consecutive arrivals of one kind."""
        events = [each.event for each in arrivals if isinstance(each.event, QueryEvent)]
        if events:
            yield from self._score(account, arrivals, events)
        else:
            yield from (self._close(account, arrival) for arrival in arrivals)

    def _close(self, account: Account, arrival: Arrival) -> Outcome:
        """Close the finding that an order names, if it is open, and let its detector begin anew."""
        order, source = arrival
        assert isinstance(order, CloseOrder)
        verdicts = []
        for each in self.profile.detectors:
            standing = account.standings[each.detector]
            if standing.finding == order.finding:
                verdicts.append(_closing(self.profile, each, account, order, source))
                account.detectors[each.detector].reset()
                close(standing)
        return Outcome(arrival, account.queries, {}, verdicts)

    def _score(
        self, account: Account, arrivals: list[Arrival], events: list[QueryEvent]
    ) -> Iterator[Outcome]:
        """Score consecutive events whose arrays can be stacked."""
        if account.queries == 0:
            account.first_time = events[0].time
        run = _Run(account, arrivals, events)
        for each in self.profile.detectors:
            self._detect(run, each)
        account.queries += len(run.batch)
        yield from run.outcomes()

    def _detect(self, run: _Run, each: DetectorProfile) -> None:
        detector = run.account.detectors[each.detector]
        standing = run.account.standings[each.detector]
        scores = run.statistics[each.detector] = np.empty(len(run.batch))
        start = 0
        while start < len(run.batch):
            scores[start:] = detector.update(run.batch[start:])
            stop = self._judge(run, each, detector, standing, start)
            start = len(run.batch) if stop is None else stop

    def _judge(
        self, run: _Run, each: DetectorProfile, detector: Detector, standing: Standing, start: int
    ) -> int | None:
        """Turn statistics from `start` on into verdicts; say where a reset detector goes on."""
        assert each.threshold is not None  # resolved with the profile
        changes = judge(
            standing,
            run.statistics[each.detector][start:],
            run.times[start:],
            threshold=each.threshold,
            policy=self.profile.policy,
            name=lambda row: finding_id(
                *run.names(self.profile, each), run.batch.first + start + row
            ),
        )
        for change in changes:
            evidence = detector.evidence(change.row)
            row = start + change.row
            verdict = run.verdict(self.profile, each, row, change, evidence)
            run.verdicts[run.owner[row]].append(verdict)
            if self.profile.policy.mode == "reset":
                detector.reset()
                close(standing)
                return row + 1
        return None


class _Run:
    """Consecutive events of one account, stacked, with what comes of them."""

    def __init__(self, account: Account, arrivals: list[Arrival], events: list[QueryEvent]) -> None:
        sizes = [len(event) for event in events]
        self.account = account
        self.arrivals = arrivals
        self.starts = np.concatenate([[0], np.cumsum(sizes)])
        self.owner = np.repeat(np.arange(len(events)), sizes)
        self.times = np.repeat(np.array([event.time for event in events], np.int64), sizes)
        self.statistics: dict[str, Floats] = {}
        self.verdicts: list[list[Verdict]] = [[] for _ in events]
        embeddings = _stack_all([event.embedding for event in events])
        self.batch = Batch(
            first=account.queries,
            inputs=_stack([event.inputs for event in events]),
            labels=np.array([label for event in events for label in event.labels], np.int64),
            probabilities=_stack_all([event.probabilities for event in events]),
            features={} if embeddings is None else {EMBEDDING: embeddings.astype(np.float32)},
        )

    def outcomes(self) -> Iterator[Outcome]:
        for number, arrival in enumerate(self.arrivals):
            begin, end = int(self.starts[number]), int(self.starts[number + 1])
            statistics = {name: scores[begin:end] for name, scores in self.statistics.items()}
            yield Outcome(arrival, self.batch.first + begin, statistics, self.verdicts[number])

    def names(self, profile: Profile, each: DetectorProfile) -> tuple[str, str, str, str]:
        """Give what the ids of this account's verdicts are made of."""
        event = self.arrivals[0].event
        return profile.hash, each.detector, event.account, event.model

    def verdict(
        self,
        profile: Profile,
        each: DetectorProfile,
        row: int,
        change: Change,
        evidence: dict[str, Any],
    ) -> Verdict:
        number = int(self.owner[row])
        event, source = self.arrivals[number]
        query = self.batch.first + row
        names = self.names(profile, each)
        assert each.threshold is not None
        return Verdict(
            id=verdict_id(*names, query, change.activity),
            activity=change.activity,
            finding=change.finding,
            account=event.account,
            model=event.model,
            detector=each.detector,
            statistic=float(self.statistics[each.detector][row]),
            threshold=each.threshold,
            severity=change.severity,
            reason=change.reason,
            queries=query + 1,
            query=query,
            first_time=self.account.first_time,
            last_time=event.time,
            evidence=evidence,
            profile=profile.hash,
            promise=msgspec.to_builtins(profile.promise),
            topic=source.topic,
            partition=source.partition,
            offset=source.offset,
            row=row - int(self.starts[number]),
        )


def _closing(
    profile: Profile, each: DetectorProfile, account: Account, order: CloseOrder, source: Source
) -> Verdict:
    """Make the verdict of an analyst's order, whose id is that of no query: the next one's."""
    standing = account.standings[each.detector]
    assert each.threshold is not None
    names = (profile.hash, each.detector, order.account, order.model)
    return Verdict(
        id=verdict_id(*names, account.queries, "close"),
        activity="close",
        finding=order.finding,
        account=order.account,
        model=order.model,
        detector=each.detector,
        statistic=standing.statistic,
        threshold=each.threshold,
        severity=SEVERITIES[standing.severity],
        reason="analyst",
        queries=account.queries,
        query=account.queries - 1,
        first_time=account.first_time,
        last_time=order.time,
        evidence={"analyst": order.analyst, "note": order.note},
        profile=profile.hash,
        promise=msgspec.to_builtins(profile.promise),
        topic=source.topic,
        partition=source.partition,
        offset=source.offset,
        row=0,
    )


def _by_account(arrivals: Sequence[Arrival]) -> dict[Key, list[int]]:
    places: dict[Key, list[int]] = {}
    for place, (event, _) in enumerate(arrivals):
        places.setdefault((event.account, event.model), []).append(place)
    return places


def _signature(arrival: Arrival) -> tuple[object, ...]:
    """Say which events can be stacked: same shape and dtype of one row; orders are apart."""
    event = arrival.event
    if isinstance(event, CloseOrder):
        return ()
    return _row(event.inputs), _row(event.probabilities), _row(event.embedding)


def _row(tensor: Tensor | None) -> tuple[object, ...] | None:
    return None if tensor is None else (tensor.dtype, *tensor.shape[1:])


def _stack_all(tensors: list[Tensor | None]) -> NDArray[Any] | None:
    """Stack tensors that all events of a run have, or that none of them has."""
    present = [tensor for tensor in tensors if tensor is not None]
    return _stack(present) if present else None


def _stack(tensors: list[Tensor]) -> NDArray[Any]:
    if len(tensors) == 1:
        return tensors[0].array()
    return np.concatenate([tensor.array() for tensor in tensors])
