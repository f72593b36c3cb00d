"""One life scored: every query through the engine, and what its alarms add up to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gamekeeper.detectors.base import Featurizer, Floats
from gamekeeper.detectors.engine import Arrival, Engine, Outcome, Profile, Source
from gamekeeper.replay.traces import Life, TraceEvent
from gamekeeper.replay.tune.evaluation.rates import alarm_queries, alarmed_chunks
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables import score_rows
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Verdict

ANY = "any"
"""Stands for all detectors together: the account alarms when one of them does."""


class Tally(msgspec.Struct, frozen=True):
    """What one detector's alarms over one life add up to.

    `detection` is the number of queries sent when the first alarm was raised, None if none was;
    `chunks` how many 50-query chunks hold an alarm query; `alarms` how many were raised when
    every alarm retires the account and its traffic goes on under a new one.
    """

    detector: str
    detection: int | None
    chunks: int
    alarms: int


class ScoredLife(msgspec.Struct, frozen=True):
    """A life with all that came of it; `scores` are rows of the table of that name."""

    life: Life
    tallies: list[Tally]
    scores: pa.RecordBatch
    verdicts: list[Verdict]


def watched(lives: Sequence[Life], profile: Profile) -> list[Life]:
    """Keep the lives of models that the profile watches; `ProfileError` if there are none."""
    kept = [life for life in lives if profile.watches(life.model)]
    if not kept:
        models = ", ".join(sorted({life.model for life in lives}))
        raise ProfileError(
            f"profile {profile.name!r} watches model {profile.model!r}; the traces are of {models}"
        )
    return kept


def score_life(
    profile: Profile,
    featurizers: Sequence[Featurizer],
    life: Life,
    events: Iterable[TraceEvent],
    batch: int,
) -> ScoredLife:
    """Run a life's events through a fresh engine, about `batch` queries at a time."""
    engine = Engine(profile, featurizers)
    names = [each.detector for each in profile.detectors]
    groups = [(name,) for name in names] + ([tuple(names)] if len(names) > 1 else [])
    retirements = [Retirement(profile, group) for group in groups]
    times: list[NDArray[np.int64]] = []
    parts: dict[str, list[Floats]] = {name: [] for name in names}
    verdicts: list[Verdict] = []
    for batched in _batches(life, events, batch):
        arrivals = engine.featurized(batched)  # once, for the retirements' engines too
        outcomes = engine.process(arrivals)
        for each in retirements:
            each.feed(arrivals, outcomes)
        times.append(_times(arrivals))
        for name in names:
            parts[name].append(np.concatenate([each.statistics[name] for each in outcomes]))
        verdicts.extend(verdict for each in outcomes for verdict in each.verdicts)
    statistics = {name: np.concatenate(parts[name]) for name in names}
    return ScoredLife(
        life=life,
        tallies=[_tally(each, statistics) for each in retirements],
        scores=score_rows(
            life.account,
            life.model,
            0,
            np.concatenate(times),
            statistics,
            trace=life.trace,
            kind=life.kind,
        ),
        verdicts=verdicts,
    )


class Retirement:
    """Counts the alarms of one or more detectors when each alarm retires the account.

    Until the first alarm this is what the main engine computes anyway, so an own engine runs only
    from the query after it, and a new one after every further alarm.
    """

    def __init__(self, profile: Profile, names: Sequence[str]) -> None:
        """Watch the detectors of these names, any of which retires the account."""
        own = tuple(each for each in profile.detectors if each.detector in names)
        self.names = names
        self.alarms = 0
        self.thresholds = {
            each.detector: each.threshold for each in own if each.threshold is not None
        }
        self._profile = msgspec.structs.replace(profile, detectors=own)
        self._engine: Engine | None = None

    def feed(self, arrivals: Sequence[Arrival], outcomes: Sequence[Outcome]) -> None:
        """Take the next events of the life and what the main engine made of them."""
        while True:
            if self._engine is not None:
                outcomes = self._engine.process(arrivals)
            found = self._first_alarm(outcomes)
            if found is None:
                return
            self.alarms += 1
            self._engine = Engine(self._profile)
            arrivals = _after(arrivals, *found)
            if not arrivals:
                return

    def _first_alarm(self, outcomes: Sequence[Outcome]) -> tuple[int, int] | None:
        for place, outcome in enumerate(outcomes):
            rows = [
                row
                for name, threshold in self.thresholds.items()
                for row in alarm_queries(outcome.statistics[name], threshold)[:1].tolist()
            ]
            if rows:
                return place, min(rows)
        return None


def _tally(retirement: Retirement, statistics: dict[str, Floats]) -> Tally:
    alarms = np.unique(
        np.concatenate(
            [
                alarm_queries(statistics[name], threshold)
                for name, threshold in retirement.thresholds.items()
            ]
        )
    )
    return Tally(
        detector=retirement.names[0] if len(retirement.names) == 1 else ANY,
        detection=int(alarms[0]) + 1 if len(alarms) else None,
        chunks=len(alarmed_chunks(alarms)),
        alarms=retirement.alarms,
    )


def _batches(life: Life, events: Iterable[TraceEvent], size: int) -> Iterator[list[Arrival]]:
    """Collect events up to `size` queries; an event is never cut."""
    batch: list[Arrival] = []
    queries = 0
    for number, each in enumerate(events):
        batch.append(Arrival(each.event, Source(life.trace, 0, number)))
        queries += len(each.event)
        if queries >= size:
            yield batch
            batch, queries = [], 0
    if batch:
        yield batch


def _times(arrivals: Sequence[Arrival]) -> NDArray[np.int64]:
    """Give every query its event's time."""
    events = [arrival.event for arrival in arrivals]
    return np.repeat(np.array([event.time for event in events], np.int64), [*map(len, events)])


def _after(arrivals: Sequence[Arrival], place: int, row: int) -> list[Arrival]:
    """Keep what came after a row of an arrival."""
    event, source, features = arrivals[place]
    assert isinstance(event, QueryEvent)
    assert features is not None
    rest = []
    if row + 1 < len(event):
        kept = {name: values[row + 1 :] for name, values in features.items()}
        rest = [Arrival(_cut(event, row + 1), source, kept)]
    return rest + list(arrivals[place + 1 :])


def _cut(event: QueryEvent, start: int) -> QueryEvent:
    """Make an event of the rows from `start` on."""
    probabilities, embedding = (
        None if tensor is None else Tensor.from_array(tensor.array()[start:])
        for tensor in (event.probabilities, event.embedding)
    )
    return msgspec.structs.replace(
        event,
        inputs=Tensor.from_array(event.inputs.array()[start:]),
        labels=event.labels[start:],
        probabilities=probabilities,
        embedding=embedding,
    )
