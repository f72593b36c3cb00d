"""Drift: whether more accounts alarm than a profile promises, so that its promise is suspended.

A promise is of **lives**: at most a share of them ever alarm, where a life is an account's first so
many queries, and each so many more while it has not alarmed. Lives in the order in which they began
are held against that by a betting CUSUM: each life multiplies what was staked on it by the
likelihood of "four times as many alarm" over that of "as many as promised", and the evidence is the
largest product of those that end with the latest life. (Page 1954; that it exceeds c falsely once
in c lives on average at most, Lorden 1971; for whatever shares at or below the promised ones, Shin,
Ramdas and Rinaldo 2024, E-detectors.) A life that may still alarm counts as one that has not: so
the evidence is never more than it will be, and alarms may come as late as they like.

Each life's chance must be at most the promised share whatever the others did: accounts that share
their data, or one thief's many, are not so, and are what the evidence then is of. The share is the
upper end of the interval that was measured where that is above what was promised: one in forty
profiles has a higher true rate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from gamekeeper.detectors.base import Floats

BET: Final = 4.0
"""The bet is on so many times the promised share: twice as many are then noticed in the end, and
ten times as many within a hundred lives; a higher bet sees great drift sooner, and small never."""
FALSE_EVERY: Final = 100_000
"""Lives: falsely suspended once in so many on average at most, which is a year of 270 a day."""
SUSPENDED: Final = math.log(FALSE_EVERY)
RESUMED: Final = SUSPENDED / 2
"""It takes some hundred lives without alarms to come down to this; so it does not flicker."""
WINDOW: Final = 1000
"""The latest lives that count: what is further back has no more say."""
_SURE = 0.99  # a share of 1 cannot be exceeded, and its logarithms are infinite
_MILLION = 1e6


class Limits(NamedTuple):
    """The share of lives of `life` queries that may alarm: of accounts' first ones, and of later.

    `later` is None where nothing is known of them: they are not held against the promise.
    """

    life: int
    first: float
    later: float | None = None

    def share(self, number: int) -> float | None:
        """Give the share for an account's life, numbered from 0."""
        return self.first if number == 0 else self.later


class _Promise(msgspec.Struct):
    """What is read of a promise, from a profile or a verdict of whatever build."""

    alpha: float | None = None
    life: int | None = None
    held_out_interval: tuple[float, float] | None = None
    beyond_interval: tuple[float, float] | None = None


def limits_of(promise: Mapping[str, Any]) -> Limits | None:
    """Say what a promise's content allows; None where none was made.

    >>> limits_of({"alpha": 0.01, "life": 1000, "held_out_interval": [0.0, 0.018]})
    Limits(life=1000, first=0.018, later=None)
    >>> limits_of({"alpha": None})
    """
    try:
        told = msgspec.convert(promise, _Promise)
    except msgspec.ValidationError:
        return None
    if not told.alpha or not told.life or told.alpha < 0 or told.life < 0:
        return None
    first = min(_SURE, max(told.alpha, *(told.held_out_interval or (0.0,))))
    if told.beyond_interval is None:
        return Limits(told.life, first)
    later = -math.expm1(-told.beyond_interval[1] * told.life / _MILLION)
    return Limits(told.life, first, min(_SURE, max(first, later)))


class Life(NamedTuple):
    """A life: when it began (us), its number, when it alarmed (None: not so far), and as what."""

    begun: int
    number: int = 0
    alarmed: int | None = None
    kind: str = ""


class Judged(NamedTuple):
    """What is known of an account since a profile began to judge it.

    `since` and `last` are the event times (us) of its first and latest query, `queries` counts
    them; `found` is the index among them of the one that opened its first finding, None while there
    is none, `found_at` that one's time, `kind` the finding's.
    """

    since: int
    last: int
    queries: int
    found: int | None = None
    found_at: int = 0
    kind: str = ""


def lives(judged: Judged, limits: Limits) -> Iterator[Life]:
    """Give an account's lives that are held against the promise, the latest first.

    It is known when the first began; the others as if the queries had come evenly.
    """
    alarmed = judged.found is not None
    latest = (max(0, judged.queries - 1) if judged.found is None else judged.found) // limits.life
    if latest > 0 and limits.later is None:
        latest, alarmed = 0, False
    for number in range(latest, -1, -1):
        part = min(1.0, number * limits.life / max(1, judged.queries))
        begun = judged.since + round((judged.last - judged.since) * part)
        if alarmed and number == latest:
            yield Life(min(begun, judged.found_at), number, judged.found_at, judged.kind)
        else:
            yield Life(begun, number)


class Drift(NamedTuple):
    """How much speaks against a promise: the logarithm of the evidence, and where it comes from.

    It is of the latest `lives` lives, the first of which began at `since` (us); `alarmed` counts
    those that have alarmed, by kind, and `allowed` is how many are promised at most, on average.
    """

    evidence: float = 0.0
    since: int = 0
    lives: int = 0
    alarmed: Mapping[str, int] = {}
    allowed: float = 0.0

    def suspends(self, *, suspended: bool) -> bool:
        """Say whether the promise is suspended; `suspended` says whether it was before."""
        return self.evidence >= (RESUMED if suspended else SUSPENDED)


def drift(latest: Sequence[Life], limits: Limits) -> Drift:
    """Weigh lives, in the order in which they began; the latest `WINDOW` of them count."""
    shares, clear, alarmed = _stakes(latest, limits)
    found = np.array([each.alarmed is not None for each in latest], np.bool_)
    return _drift(latest, shares, np.where(found, alarmed, clear))


def _stakes(known: Sequence[Life], limits: Limits) -> tuple[Floats, Floats, Floats]:
    """Give the share allowed to each life, and what it adds to the evidence clear, and alarmed."""
    shares = np.array([limits.share(each.number) for each in known], np.float64)
    bets = np.minimum(BET * shares, (1 + shares) / 2)
    return shares, np.log((1 - bets) / (1 - shares)), np.log(bets / shares)


def _drift(known: Sequence[Life], shares: Floats, gains: Floats) -> Drift:
    """Say what `(n,)` gains add up to, and of which of as many lives."""
    if not len(gains):
        return Drift()
    evidence, start = _largest(gains)
    latest = known[start : len(gains)]
    alarmed = Counter(each.kind for each in latest if each.alarmed is not None)
    return Drift(
        evidence=evidence,
        since=latest[0].begun,
        lives=len(latest),
        alarmed=dict(sorted(alarmed.items())),
        allowed=float(shares[start : len(gains)].sum()),
    )


def _largest(gains: Floats) -> tuple[float, int]:
    """Find the largest sum of the gains that end with the last, and where it begins."""
    sums = np.cumsum(gains[-WINDOW:][::-1])
    best = len(sums) - 1 - int(np.argmax(sums[::-1]))
    return float(sums[best]), len(gains) - 1 - best


class Period(NamedTuple):
    """A time (us) in which the promise held or was suspended; `worst` spoke most against it.

    `ended` is None where it goes on.
    """

    begun: int
    ended: int | None
    suspended: bool
    worst: Drift


def periods(known: Iterable[Life], limits: Limits) -> list[Period]:
    """Go through lives and their alarms in the order of time; give the periods that they make.

    Only an alarm adds to the evidence, and only a life that begins takes from it: while the promise
    holds, the others need not be weighed.
    """
    order = sorted(known, key=lambda life: (life.begun, life.number))
    shares, gains, alarmed = _stakes(order, limits)
    so_far: list[Life] = []
    made = [Period(order[0].begun, None, suspended=False, worst=Drift())] if order else []
    for time, alarm, at in _events(order):
        if alarm:
            so_far[at], gains[at] = order[at], alarmed[at]
        else:
            so_far.append(order[at]._replace(alarmed=None, kind=""))
        if alarm or made[-1].suspended:
            _go_on(made, time, so_far, shares, gains[: len(so_far)])
    return made


def _events(order: Sequence[Life]) -> list[tuple[int, bool, int]]:
    """Give when lives begin, and when they alarm, by time."""
    events = [(life.begun, False, at) for at, life in enumerate(order)]
    found = ((life.alarmed, at) for at, life in enumerate(order))
    return sorted(events + [(time, True, at) for time, at in found if time is not None])


def _go_on(
    made: list[Period], time: int, so_far: Sequence[Life], shares: Floats, gains: Floats
) -> None:
    """Let the last period go on at a time, or end it and begin the next."""
    last = made[-1]
    now = Drift(_largest(gains)[0])
    if now.suspends(suspended=last.suspended) != last.suspended:
        made[-1] = last._replace(ended=time)
        made.append(Period(time, None, not last.suspended, _drift(so_far, shares, gains)))
    elif now.evidence > last.worst.evidence:
        made[-1] = last._replace(worst=_drift(so_far, shares, gains))
