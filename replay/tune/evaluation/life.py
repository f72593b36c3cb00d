"""One life scored: what all detectors say of it, and what their alarms add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch, Featurizer, Floats
from gamekeeper.detectors.engine import (
    Account,
    DetectorProfile,
    Profile,
    Stretch,
    score,
    with_features,
)
from gamekeeper.replay.traces import Life
from gamekeeper.replay.tune.evaluation.rates import alarm_queries, alarmed_chunks
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.tables import score_rows
from gamekeeper.schemas.verdict import Verdict

ANY = "any"
"""Stands for all detectors together: the account alarms when one of them does."""
SHORT = 64
"""Queries given at once to accounts that alarms end: what lies behind an alarm is thrown away."""


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
    stretches: Iterable[Stretch],
) -> ScoredLife:
    """Score a life's queries for a new account."""
    account = Account(profile)
    names = [each.detector for each in profile.detectors]
    judged = [each.detector for each in profile.judged]
    groups = [(name,) for name in judged] + ([tuple(judged)] if len(judged) > 1 else [])
    retirements = [Retirement(profile, group) for group in groups]
    times: list[NDArray[np.int64]] = []
    parts: dict[str, list[Floats]] = {name: [] for name in names}
    verdicts: list[Verdict] = []
    for bare in stretches:
        stretch = bare.with_batch(with_features(featurizers, bare.batch))
        scored = score(profile, account, stretch)
        for each in retirements:
            each.feed(stretch.batch, scored.statistics)
        times.append(stretch.batch.times)
        for name in names:
            parts[name].append(scored.statistics[name])
        verdicts.extend(chain.from_iterable(scored.verdicts))
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

    Until the first alarm its statistics are what the caller has anyway, so a new account is kept
    only from the query after it, and another one after every further alarm.
    """

    def __init__(self, profile: Profile, names: Sequence[str]) -> None:
        """Watch the detectors of these names, any of which retires the account."""
        own = _with_read(profile, names)
        self.names = names
        self.alarms = 0
        self.thresholds = {
            each.detector: each.threshold for each in own if each.threshold is not None
        }
        self._profile = msgspec.structs.replace(profile, detectors=own)
        self._account: Account | None = None

    def feed(self, batch: Batch, statistics: Mapping[str, Floats]) -> None:
        """Take the next queries, and what detectors that are never retired say of them."""
        begin = 0 if self._account else self._retire(statistics, len(batch))
        while begin < len(batch):
            assert self._account is not None  # an alarm before this row has made one
            part = replace(batch[begin : begin + SHORT], first=self._account.queries)
            begin += self._retire(self._account.update(part), len(part))

    def _retire(self, statistics: Mapping[str, Floats], queries: int) -> int:
        """Take a new account after the first alarm; say how many queries belong to the old one."""
        rows = [
            row
            for name, threshold in self.thresholds.items()
            for row in alarm_queries(statistics[name], threshold)[:1].tolist()
        ]
        if not rows:
            return queries
        self.alarms += 1
        self._account = Account(self._profile)
        return int(min(rows)) + 1


def _with_read(profile: Profile, names: Sequence[str]) -> tuple[DetectorProfile, ...]:
    """Give these detectors, and those that they read; these raise no alarm."""
    own = tuple(each for each in profile.detectors if each.detector in names)
    read = msgspec.structs.replace(profile, detectors=own).read.difference(names)
    return tuple(
        msgspec.structs.replace(each, threshold=None) if each.detector in read else each
        for each in profile.detectors
        if each.detector in read or each.detector in names
    )


def _tally(retirement: Retirement, statistics: dict[str, Floats]) -> Tally:
    alarms = np.unique(
        np.concatenate(
            [
                np.empty(0, np.int64),
                *(
                    alarm_queries(statistics[name], threshold)
                    for name, threshold in retirement.thresholds.items()
                ),
            ]
        )
    )
    return Tally(
        detector=retirement.names[0] if len(retirement.names) == 1 else ANY,
        detection=int(alarms[0]) + 1 if len(alarms) else None,
        chunks=len(alarmed_chunks(alarms)),
        alarms=retirement.alarms,
    )
