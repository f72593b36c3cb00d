"""A stretch scored: every detector's statistics, and the verdicts that they lead to."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Floats
from gamekeeper.detectors.engine.account import Account
from gamekeeper.detectors.engine.arrival import Key
from gamekeeper.detectors.engine.declared import NAME as DECLARED
from gamekeeper.detectors.engine.declared import Course
from gamekeeper.detectors.engine.forgetting import remembered
from gamekeeper.detectors.engine.policy import Change, close, judge, release
from gamekeeper.detectors.engine.profile import DetectorProfile, Profile
from gamekeeper.detectors.engine.repeats import Given
from gamekeeper.detectors.engine.stretch import Stretch
from gamekeeper.detectors.engine.verdicts import Cause, make
from gamekeeper.schemas.verdict import Verdict, finding_id


class Scored(NamedTuple):
    """What the detectors say of a stretch of `n` queries.

    `statistics` maps each detector to its `(n,)` statistics, NaN where not ready and for repeats
    that it is not given; `verdicts` has, for each of the stretch's events, those that its queries
    caused, `firsts` the index of the event's first query among the account's.
    """

    statistics: dict[str, Floats]
    verdicts: list[list[Verdict]]
    firsts: list[int]


class _Found(NamedTuple):
    """A change of one detector's standing, at a row of the stretch, with its evidence."""

    detector: str
    row: int
    change: Change
    evidence: dict[str, Any]


def score(profile: Profile, account: Account, stretch: Stretch) -> Scored:
    """Let the account's detectors take a stretch, and judge what they say by the profile.

    Where the account was silent for longer than the policy remembers, the rest of the stretch is
    that of a new one. Should a detector raise, the account is in an undefined state: drop it and
    restore it.
    """
    parts = [
        _score(profile, account, part) for part in remembered(profile.policy, account, stretch)
    ]
    if len(parts) == 1:
        return parts[0]
    return Scored(
        {
            name: np.concatenate([part.statistics[name] for part in parts])
            for name in parts[0].statistics
        },
        [verdicts for part in parts for verdicts in part.verdicts],
        [first for part in parts for first in part.firsts],
    )


def _score(profile: Profile, account: Account, stretch: Stretch) -> Scored:
    if account.queries == 0:
        account.first_time = int(stretch.batch.times[0])
    opened = account.open()
    statistics: dict[str, Floats] = {}
    found: list[_Found] = []
    given = account.given(stretch.batch)
    course = _course(profile, account, stretch)
    detectors = {each.detector: each for each in profile.detectors}
    for name in account.in_order:
        own = account.reading(name, given[name], statistics)
        scores = statistics[name] = np.full(len(stretch.batch), np.nan)
        found += _watch(profile, account, stretch.key, own, detectors[name], scores, course)
    found += _breaches(profile, account, stretch, course)
    account.queries += len(stretch.batch)
    verdicts: list[list[Verdict]] = [[] for _ in stretch.sources]
    for one in found:
        agreeing = _agreeing(opened, found, one.row, latch=profile.policy.mode == "latch")
        verdict = _verdict(profile, account, stretch, one, agreeing)
        verdicts[stretch.event(one.row)].append(verdict)
    firsts = (stretch.batch.first + stretch.starts[:-1]).tolist()
    return Scored(statistics, verdicts, firsts)


def _course(profile: Profile, account: Account, stretch: Stretch) -> Course:
    """Follow the habit that is declared for the account, if one is."""
    habit = profile.declared.get(stretch.key[0])
    return account.declare(habit).follow(habit, stretch.batch) if habit else Course()


def _breaches(
    profile: Profile, account: Account, stretch: Stretch, course: Course
) -> Iterator[_Found]:
    """Give the changes of what stands against the account as its declaration is broken."""
    if course.habit is None:
        return
    standing = account.standings[DECLARED]
    changes = judge(
        standing,
        course.breach(),
        course.times,
        threshold=float(course.limit),
        kind="load",  # never critical: customers who have grown do it, too
        policy=profile.policy,
        profile=profile.hash,
        name=partial(_finding, profile, account, stretch.key, DECLARED, stretch.batch.queries),
    )
    for change in changes:
        yield _Found(DECLARED, change.row, change, course.evidence(change.row))
        if profile.policy.mode == "reset":
            close(standing)


def _watch(
    profile: Profile,
    account: Account,
    key: Key,
    given: Given,
    each: DetectorProfile,
    scores: Floats,
    course: Course,
) -> Iterator[_Found]:
    """Let a detector take queries, cut where its findings begin or cease to be held at low."""
    standing, kind = account.standings[each.detector], account.detectors[each.detector].kind
    spans = course.spans(kind)
    for span in spans:
        part = given if len(spans) == 1 else given.between(span.first, span.end)
        # A repeat, which the detector is not given, may be what ends the declaration.
        if standing.withheld and not span.held and span.first not in part.rows[:1]:
            change = release(standing, span.first)
            yield _Found(each.detector, span.first, change, course.told(change, kind, span.first))
        yield from _detect(profile, account, key, part, each, scores, course, span.held)


def _detect(
    profile: Profile,
    account: Account,
    key: Key,
    given: Given,
    each: DetectorProfile,
    scores: Floats,
    course: Course,
    held: bool,
) -> Iterator[_Found]:
    """Fill in one detector's statistics; give the changes of its standing."""
    detector = account.detectors[each.detector]
    standing = account.standings[each.detector]
    start, count = 0, len(given.batch)
    while start < count:
        rest = given.batch[start:]
        statistics = scores[given.rows[start:]] = detector.update(rest)
        changes = judge(
            standing,
            statistics,
            rest.times,
            threshold=math.inf if each.threshold is None else each.threshold,
            kind=detector.kind,
            policy=profile.policy,
            profile=profile.hash,
            name=partial(_finding, profile, account, key, each.detector, rest.queries),
            held=held,
        )
        stop = count
        for change in changes:
            row = int(given.rows[start + change.row])
            evidence = course.told(change, detector.kind, row)
            if not change.released:  # else the statistic need not be one that alarms
                evidence = detector.evidence(change.row) | given.left_out(row) | evidence
            yield _Found(each.detector, row, change, evidence)
            if profile.policy.mode == "reset":
                detector.reset()
                close(standing)
                stop = start + change.row + 1
                break
        start = stop


def _finding(
    profile: Profile,
    account: Account,
    key: Key,
    detector: str,
    queries: NDArray[np.int64],
    row: int,
) -> str:
    return finding_id(profile.hash, detector, *key, account.first_time, int(queries[row]))


def _agreeing(
    opened: Collection[str], found: Sequence[_Found], row: int, *, latch: bool
) -> list[str]:
    """Name the detectors that hold the account for an attacker after a row.

    `opened` are those that did before the stretch. Where alarms reset, a finding lasts no longer
    than its query.
    """
    standing = dict.fromkeys(opened, True)
    for each in sorted(found, key=lambda each: each.row):
        if each.row <= row:
            standing[each.detector] = each.change.activity != "close" and (latch or each.row == row)
    return [name for name, alarmed in standing.items() if alarmed]


def _verdict(
    profile: Profile, account: Account, stretch: Stretch, found: _Found, agreeing: Sequence[str]
) -> Verdict:
    batch, change = stretch.batch, found.change
    number = stretch.event(found.row)
    index = int(batch.queries[found.row])
    cause = Cause(
        key=stretch.key,
        first_time=account.first_time,
        index=index,
        queries=index + 1,
        time=int(batch.times[found.row]),
        source=stretch.sources[number],
        row=found.row - int(stretch.starts[number]),
    )
    return make(
        profile,
        found.detector,
        change.standing,
        change.activity,
        change.reason,
        cause,
        agreeing=agreeing,
        evidence=found.evidence,
    )
