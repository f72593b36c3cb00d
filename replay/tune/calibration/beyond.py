"""How often accounts first alarm after the life that is promised, per million queries.

A promise about a life of n queries says nothing from n on. Where the statistic of a steady account
stays as it is (`Detector.steady`), alarms go on at a rate, and that is measured here: an account
that has not alarmed in the promised life is at risk from then on until it first does.

The interval takes accounts for independent, and the rate for the same in all of them. Accounts that
draw from the same inputs are less than that: it is then too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gamekeeper.detectors.engine import Profile
from gamekeeper.replay.tune.calibration.false_alarms import alarmed
from gamekeeper.replay.tune.calibration.maxima import Maxima
from gamekeeper.replay.tune.evaluation import ANY, Interval, garwood

MILLION = 1_000_000
_ALL = 2**40
"""More queries than an account sends."""


class Beyond(msgspec.Struct, frozen=True):
    """How many accounts a detector first flags in how many queries beyond the promised life.

    `accounts` and `queries` are those at risk; `interval` is the exact 95 % interval of first
    alarms per million queries. `detector` is `any` for all of the profile's together.
    """

    detector: str
    accounts: int
    queries: int
    alarms: int
    interval: Interval


def further_queries(asked: int | None) -> int:
    """Say how many queries after the life are looked at; None: all that there are."""
    return _ALL if asked is None else asked


def beyond(profile: Profile, accounts: Sequence[Maxima]) -> list[Beyond]:
    """Count by detector and, as the last, together; nothing where no account went beyond."""
    names = [each.detector for each in profile.judged]
    chosen = [[name] for name in names] + ([names] if len(names) > 1 else [])
    rows = [_row(profile, each, accounts) for each in chosen]
    return [row for row in rows if row is not None]


def _row(profile: Profile, names: Sequence[str], accounts: Sequence[Maxima]) -> Beyond | None:
    longer = [each for each in accounts if each.later and each.later.queries]
    at_risk = [each for each in longer if not alarmed(profile, each, names)]
    if not at_risk:
        return None
    firsts = [_first(profile, names, each) for each in at_risk]
    queries = sum(
        each.later.queries if first is None else first + 1
        for each, first in zip(at_risk, firsts, strict=True)
        if each.later
    )
    alarms = sum(first is not None for first in firsts)
    return Beyond(
        detector=names[0] if len(names) == 1 else ANY,
        accounts=len(at_risk),
        queries=queries,
        alarms=alarms,
        interval=garwood(alarms, queries / MILLION),
    )


def _first(profile: Profile, names: Sequence[str], account: Maxima) -> int | None:
    """Say which query beyond the life was the first above a threshold."""
    assert account.later is not None
    found = [
        account.later.first_above(each.detector, each.threshold)
        for each in profile.detectors
        if each.detector in names and each.threshold is not None
    ]
    return min((at for at in found if at is not None), default=None)


HEADINGS = ("detector", "accounts", "queries", "first alarms", "per million", "95 % interval")


def cells(row: Beyond) -> list[Any]:
    """Say a row in the words of `HEADINGS`."""
    low, high = (f"{end:.3g}" for end in row.interval)
    rate = MILLION * row.alarms / row.queries
    return [row.detector, row.accounts, row.queries, row.alarms, f"{rate:.3g}", f"{low}-{high}"]
