"""From statistics to changes of standing: when a finding opens, is updated and closes.

Detectors know no thresholds; this file knows nothing else. Time is event time, so that a replay
judges as the live service did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Floats
from gamekeeper.detectors.engine.profile import Policy
from gamekeeper.schemas.verdict import Activity, Kind, Reason, Severity

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")

MICROSECONDS = 1_000_000


class Standing(msgspec.Struct, array_like=True):
    """One detector's opinion of one account: the open finding, if there is one.

    `finding` is its uid, None while there is none; `statistic` the one of its last change,
    `severity` its highest grade, `alarmed` the latest event time (us) of a statistic above the
    threshold; `profile` (its hash) and `threshold` are those that it stands under. `withheld` is
    the grade that it would have were the account's habit not declared, 0 where it has that.
    """

    finding: str | None = None
    statistic: float = 0.0
    severity: int = 0
    alarmed: int = 0
    profile: str = ""
    threshold: float = 0.0
    withheld: int = 0


class Change(NamedTuple):
    """A change caused by row `row` of a batch; `standing` is a copy, made at that row.

    `released` says that it is the end of a declared habit which raised the severity.
    """

    row: int
    activity: Activity
    reason: Reason
    standing: Standing
    released: bool = False


def severity(statistic: float, threshold: float, kind: Kind) -> int:
    """Grade an alarm by how far the statistic is above its threshold: 1 medium to 3 critical.

    Twice the threshold is high, four times critical, where the evidence is of theft: the other
    kinds grow by counting alone, and honest habits make them. A threshold that is not positive has
    no such ratio, and its alarms are medium.

    >>> [SEVERITIES[severity(x, 0.05, "theft")] for x in (0.06, 0.1, 0.3)]
    ['medium', 'high', 'critical']
    >>> SEVERITIES[severity(0.3, 0.05, "variants")]
    'high'
    """
    if threshold <= 0:
        return 1
    return 1 + (statistic >= 2 * threshold) + (kind == "theft" and statistic >= 4 * threshold)


def judge(
    standing: Standing,
    statistics: Floats,
    times: NDArray[np.int64],
    *,
    threshold: float,
    kind: Kind,
    policy: Policy,
    profile: str,
    name: Callable[[int], str],
    held: bool = False,
) -> Iterator[Change]:
    """Walk over `(n,)` statistics and event times (us), changing `standing` along the way.

    `kind` is the detector's, `profile` the hash of the one in force, `name` makes the uid of a
    finding that a row opens. Under the `reset` policy the caller must stop at the first change:
    what follows it was computed by a detector not yet reset. `held`: a declared habit explains what
    the detector sees, so that a finding opens with a severity of low and rises no higher.

    Events may come late: a finding expires by the latest alarm's time, whichever came last. So a
    tap whose clock runs far ahead keeps findings open until the others' clocks have caught up.
    """
    above = statistics > threshold  # NaN, not ready, is not above
    if standing.finding is None and not above.any():
        return
    patience = np.inf if policy.close_after is None else policy.close_after * MICROSECONDS
    for row, statistic in enumerate(statistics.tolist()):
        expired = times[row] - standing.alarmed > patience and not math.isnan(statistic)
        if standing.finding is not None and expired:
            standing.statistic = statistic
            yield _change(row, "close", "expired", standing)
            close(standing)
        before = standing.withheld
        if above[row]:
            standing.alarmed = max(standing.alarmed, int(times[row]))
            grade = severity(statistic, threshold, kind)
            if standing.finding is None:
                standing.finding = name(row)
                standing.profile, standing.threshold = profile, threshold
                standing.statistic = statistic
                standing.severity, standing.withheld = (0, grade) if held else (grade, 0)
                yield _change(row, "create", "threshold", standing)
            elif grade > max(standing.severity, standing.withheld):
                standing.withheld, standing.statistic = grade, statistic
                if held:
                    yield _change(row, "update", "escalation", standing)
        if standing.withheld and not held:
            yield release(standing, row)._replace(released=before > 0)


def release(standing: Standing, row: int) -> Change:
    """Let the open finding have the severity that was withheld."""
    standing.severity, standing.withheld = standing.withheld, 0
    return _change(row, "update", "escalation", standing)._replace(released=True)


def otherwise(standing: Standing) -> Severity:
    """Say what the open finding's severity were, did no habit withhold it."""
    return SEVERITIES[max(standing.severity, standing.withheld)]


def close(standing: Standing) -> None:
    """End the open finding."""
    standing.finding = None
    standing.severity = standing.withheld = 0


def _change(row: int, activity: Activity, reason: Reason, standing: Standing) -> Change:
    return Change(row, activity, reason, msgspec.structs.replace(standing))
