"""Findings open, escalate, expire and reset as the policy says."""

from __future__ import annotations

import numpy as np
import pytest

from gamekeeper.detectors.engine import Policy, Standing
from gamekeeper.detectors.engine.policy import MICROSECONDS, SEVERITIES, Change, judge
from gamekeeper.schemas.verdict import Kind

LATCH = Policy()


def finding(row: int) -> str:
    """Name the finding that a row opens."""
    return f"from-{row}"


def walk(
    standing: Standing,
    statistics: list[float],
    policy: Policy = LATCH,
    step: float = 1.0,
    kind: Kind = "theft",
) -> list[Change]:
    """Judge statistics that come `step` seconds apart, at a threshold of 1."""
    times = (np.arange(len(statistics)) * step * MICROSECONDS).astype(np.int64)
    changes = judge(
        standing,
        np.array(statistics),
        times,
        threshold=1.0,
        kind=kind,
        policy=policy,
        profile="p",
        name=finding,
    )
    return list(changes)


def test_a_statistic_at_the_threshold_does_not_alarm():
    """An alarm needs a statistic strictly above the threshold."""
    assert walk(Standing(), [0.5, 1.0, np.nan]) == []


def test_the_first_statistic_above_opens_one_finding_that_stays_open():
    """A latched finding does not close because the statistic falls again."""
    standing = Standing()
    assert walk(standing, [0.5, 1.5, 0.2, 1.4]) == [
        Change(1, "create", "threshold", Standing("from-1", 1.5, 1, MICROSECONDS, "p", 1.0))
    ]
    assert standing.finding == "from-1"


def test_a_rising_severity_updates_the_finding_once_per_grade():
    """Updates come when the grade rises, not with every query."""
    changes = walk(Standing(), [1.5, 2.0, 2.5, 1.5, 9.0, 9.0])
    assert [(c.row, c.activity, SEVERITIES[c.standing.severity]) for c in changes] == [
        (0, "create", "medium"),
        (1, "update", "high"),
        (4, "update", "critical"),
    ]
    assert {c.standing.finding for c in changes} == {"from-0"}


@pytest.mark.parametrize("kind", ["variants", "other data", "load"])
def test_what_honest_customers_do_is_never_critical(kind: Kind):
    """However far above the threshold: critical takes evidence of theft."""
    changes = walk(Standing(), [1.5, 2.0, 9.0, 1e9], kind=kind)
    assert [(c.row, SEVERITIES[c.standing.severity]) for c in changes] == [
        (0, "medium"),
        (1, "high"),
    ]


def test_a_quiet_finding_expires_and_the_next_alarm_opens_another():
    """`close_after` seconds without an alarm close the finding at the next query."""
    standing = Standing()
    changes = walk(standing, [1.5, 0.1, 0.1, 0.1, 1.5], Policy(close_after=2.0))
    assert [(c.row, c.activity, c.standing.finding) for c in changes] == [
        (0, "create", "from-0"),
        (3, "close", "from-0"),
        (4, "create", "from-4"),
    ]


def test_an_expired_finding_and_a_new_alarm_may_share_a_query():
    """The old finding closes first, then the new one opens, at the same query."""
    changes = walk(Standing(), [1.5, 1.5], Policy(close_after=0.5))
    assert [(c.row, c.activity) for c in changes] == [(0, "create"), (1, "close"), (1, "create")]


def test_a_late_alarm_does_not_make_a_finding_look_old():
    """An event that comes late leaves the quiet time to count from the latest alarm."""
    times = np.array([100, 10, 101, 106]) * MICROSECONDS
    changes = judge(
        Standing(),
        np.array([1.5, 1.5, 0.1, 0.1]),
        times,
        threshold=1.0,
        kind="theft",
        policy=Policy(close_after=5.0),
        profile="p",
        name=finding,
    )
    assert [(c.row, c.activity) for c in changes] == [(0, "create"), (3, "close")]


@pytest.mark.parametrize("cut", range(7))
def test_batches_do_not_matter(cut: int):
    """The same statistics in two batches lead to the same changes."""
    statistics = [0.5, 1.5, 2.5, 0.1, 0.1, 4.5, 0.2]
    policy = Policy(close_after=1.0)
    whole = walk(Standing(), statistics, policy)
    times = (np.arange(7) * MICROSECONDS).astype(np.int64)
    standing, parts = Standing(), []
    for rows in (slice(0, cut), slice(cut, 7)):
        values = np.array(statistics)[rows]
        changes = judge(
            standing,
            values,
            times[rows],
            threshold=1.0,
            kind="theft",
            policy=policy,
            profile="p",
            name=lambda row, start=rows.start: finding(row + start),
        )
        parts += [change._replace(row=change.row + rows.start) for change in changes]
    assert parts == whole
