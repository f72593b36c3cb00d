"""Findings that are closed for another reason than their statistic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gamekeeper.detectors.engine.account import Account
from gamekeeper.detectors.engine.arrival import Arrival, Source
from gamekeeper.detectors.engine.declared import NAME as DECLARED
from gamekeeper.detectors.engine.declared import Declared
from gamekeeper.detectors.engine.habits import DeclaredHabit
from gamekeeper.detectors.engine.policy import Standing, close
from gamekeeper.detectors.engine.profile import Profile
from gamekeeper.detectors.engine.verdicts import Cause, make
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.verdict import Reason, Verdict


def close_by_order(
    profile: Profile, account: Account, order: CloseOrder, source: Source
) -> list[Verdict]:
    """Close the finding that an order names, if it is open; its detector begins anew.

    So do those that it reads, whatever the finding turned out to be: what is said of this one holds
    for no later one. A declaration that was broken stays so: what mends it is another one.
    """
    for name, standing in account.standings.items():
        if standing.finding == order.finding:
            evidence = {"analyst": order.analyst, "note": order.note}
            arrival = Arrival(order, source)
            verdict = _close(profile, account, name, standing, arrival, "analyst", evidence)
            if name != DECLARED:
                account.begin_anew(name)
            return [msgspec.structs.replace(verdict, disposition=order.disposition or None)]
    return []


def carry_over(profile: Profile, account: Account, arrival: Arrival) -> Iterator[Verdict]:
    """Bring the findings that another profile opened under this one; close those that cannot be.

    Where a detector's options and network are the same, its finding goes on under the same uid,
    also where the threshold is another one: what was held against the account stands. Where they
    are not, or the detector is gone, nothing could be added to it. Nor where alarms reset: there a
    finding lasts no longer than its query.
    """
    evidence = {"profile": profile.hash}
    gone = dict(account.retired)
    habit = profile.declared.get(arrival.event.account)
    if account.declared:
        gone |= _carry_declared(profile, account.standings[DECLARED], account.declared, habit)
    for each in profile.detectors:
        standing = account.standings[each.detector]
        if standing.finding is None or standing.profile == profile.hash:
            continue
        if profile.policy.mode == "reset":
            gone[each.detector] = standing
            continue
        standing.profile = profile.hash
        standing.threshold = standing.threshold if each.threshold is None else each.threshold
    for name, standing in gone.items():
        if standing.finding is not None:
            yield _close(profile, account, name, standing, arrival, "profile", evidence)
    account.retired.clear()
    if habit is None:
        account.revoke()


def _carry_declared(
    profile: Profile, standing: Standing, before: Declared, habit: DeclaredHabit | None
) -> dict[str, Standing]:
    """Keep the finding that a declaration is broken if it is still made; else give it back."""
    if habit is None or habit.terms != before.terms or profile.policy.mode == "reset":
        return {DECLARED: standing}
    if standing.finding is not None:
        standing.profile = profile.hash
    return {}


def _close(
    profile: Profile,
    account: Account,
    name: str,
    standing: Standing,
    arrival: Arrival,
    reason: Reason,
    evidence: dict[str, Any],
) -> Verdict:
    """Close a finding; its verdict's id is that of no earlier query: the next one's."""
    event, source = arrival[:2]
    cause = Cause(
        key=(event.account, event.model),
        first_time=account.first_time,
        index=account.queries,
        queries=account.queries,
        time=event.time,
        source=source,
    )
    agreeing = [other for other in account.open() if account.standings[other] is not standing]
    verdict = make(
        profile, name, standing, "close", reason, cause, agreeing=agreeing, evidence=evidence
    )
    close(standing)
    return verdict
