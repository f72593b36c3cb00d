"""A promise per time: thresholds under which few accounts first alarm after the promised life.

Of the accounts that calibrate, what came after the life is looked at as well. From the highest
threshold down, each is tried: are first alarms per million queries, with 95 % confidence, at most
what is to be promised? The last that passes before one fails is it, unless the promise about lives
asks for a higher one. Trying thresholds in an order that is fixed before anything is seen costs no
confidence (Angelopoulos et al., Learn then Test, 2021, fixed sequence testing); several detectors
share rate and doubt evenly.

As in `beyond`, accounts are taken for independent, and the rate for the same in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from gamekeeper.detectors.engine import DetectorProfile, Profile
from gamekeeper.replay.tune.calibration.beyond import MILLION, Beyond, beyond
from gamekeeper.replay.tune.calibration.maxima import Maxima
from gamekeeper.replay.tune.evaluation import garwood
from gamekeeper.schemas.errors import TraceError

DOUBT: Final = 0.05
"""How likely the rate may be above what is promised, over the draw of the accounts."""


def lasting(profile: Profile, accounts: Sequence[Maxima], per_million: float) -> Profile:
    """Raise thresholds until first alarms beyond the life are at most so many per million queries.

    `accounts` are those that calibrate. Raises `TraceError` where what they sent after the life is
    too little, with how much would do.
    """
    share, doubt = per_million / len(profile.judged), DOUBT / len(profile.judged)
    raised = {
        each.detector: _raised(profile, each, accounts, share, doubt) for each in profile.judged
    }
    detectors = tuple(raised.get(each.detector, each) for each in profile.detectors)
    promise = msgspec.structs.replace(profile.promise, per_million=per_million)
    return msgspec.structs.replace(profile, detectors=detectors, promise=promise)


def _raised(
    profile: Profile,
    each: DetectorProfile,
    accounts: Sequence[Maxima],
    share: float,
    doubt: float,
) -> DetectorProfile:
    lowest = -math.inf if each.threshold is None else each.threshold
    reached = {
        value
        for account in accounts
        if account.later is not None
        for _, value in account.later.records[each.detector]
        if value > lowest
    }
    kept: float | None = None
    for threshold in sorted({*reached, lowest}, reverse=True):
        row = _row(profile, msgspec.structs.replace(each, threshold=threshold), accounts)
        if most(row, doubt) > share:
            break
        kept = threshold
    if kept is None:
        raise TraceError(_too_little(each.detector, accounts, share, doubt))
    return msgspec.structs.replace(each, threshold=kept)


def _row(profile: Profile, each: DetectorProfile, accounts: Sequence[Maxima]) -> Beyond | None:
    """Count one detector's first alarms at its threshold."""
    alone = msgspec.structs.replace(profile, detectors=(each,))
    return next(iter(beyond(alone, accounts)), None)


def most(row: Beyond | None, doubt: float) -> float:
    """Bound first alarms per million queries from above; they exceed it as seldom as `doubt`.

    >>> round(most(Beyond("prada", 9, 1_000_000, 0, garwood(0, 1.0)), 0.05), 4)
    2.9957
    """
    if row is None:
        return math.inf
    return garwood(row.alarms, row.queries / MILLION, 1 - 2 * doubt).high


def _too_little(detector: str, accounts: Sequence[Maxima], share: float, doubt: float) -> str:
    there = sum(account.later.queries for account in accounts if account.later is not None)
    needed = math.ceil(MILLION * garwood(0, 1.0, 1 - 2 * doubt).high / share)
    return (
        f"the accounts that calibrate sent {there:,} queries after the promised life; {share:g} "
        f"first alarms per million queries of {detector} take {needed:,} without an alarm: record "
        "for longer, give a shorter --life, or a higher --per-million"
    )
