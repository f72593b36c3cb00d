"""Verdicts: every change of a finding, said in the words that cross the boundary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine.arrival import Key, Source
from gamekeeper.detectors.engine.policy import SEVERITIES, Standing
from gamekeeper.detectors.engine.profile import Profile, Promise
from gamekeeper.detectors.engine.summary import summarize
from gamekeeper.schemas.verdict import Activity, Reason, Verdict, verdict_id


@dataclass(frozen=True, slots=True)
class Cause:
    """What changed a finding: a query, or something that came before the next one.

    `index` is that query's, or the next one's, among the account's queries to the model; `queries`
    counts those seen by then. `time` (us) is the event's or order's, `row` the query's place in it.
    """

    key: Key
    first_time: int
    index: int
    queries: int
    time: int
    source: Source
    row: int = 0


def make(
    profile: Profile,
    detector: str,
    standing: Standing,
    activity: Activity,
    reason: Reason,
    cause: Cause,
    *,
    agreeing: Iterable[str],
    evidence: dict[str, Any],
) -> Verdict:
    """Make the verdict on a finding that stands as `standing` says.

    The id depends on the profile that the finding stands under, on the account's first query
    and on the cause's index alone, so that a replayed event makes the same id. `agreeing` names
    the detectors that hold the account for an attacker.
    """
    assert standing.finding is not None
    account, model = cause.key
    promise = profile.promise if standing.profile == profile.hash else Promise()
    return Verdict(
        id=verdict_id(
            standing.profile, detector, account, model, cause.first_time, cause.index, activity
        ),
        activity=activity,
        finding=standing.finding,
        account=account,
        model=model,
        detector=detector,
        statistic=standing.statistic,
        threshold=standing.threshold,
        severity=SEVERITIES[standing.severity],
        reason=reason,
        agreeing=tuple(sorted(agreeing)),
        queries=cause.queries,
        query=max(0, cause.queries - 1),
        first_time=cause.first_time,
        last_time=cause.time,
        kind=DETECTORS[detector].kind if detector in DETECTORS else None,
        summary="" if activity == "close" else summarize(detector, standing, promise, evidence),
        evidence=evidence,
        profile=standing.profile,
        promise=promise.content,
        topic=cause.source.topic,
        partition=cause.source.partition,
        offset=cause.source.offset,
        row=cause.row,
    )
