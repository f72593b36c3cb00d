"""Verdicts that close a finding for another reason than its statistic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gamekeeper.detectors.engine.account import Account
from gamekeeper.detectors.engine.arrival import Arrival, Source
from gamekeeper.detectors.engine.policy import SEVERITIES, Standing, close
from gamekeeper.detectors.engine.profile import Profile, Promise
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.verdict import Reason, Verdict, verdict_id


def close_by_order(
    profile: Profile, account: Account, order: CloseOrder, source: Source
) -> list[Verdict]:
    """Close the finding that an order names, if it is open; its detector begins anew."""
    for name, standing in account.standings.items():
        if standing.finding == order.finding:
            evidence = {"analyst": order.analyst, "note": order.note}
            verdict = _verdict(profile, account, name, Arrival(order, source), "analyst", evidence)
            account.detectors[name].reset()
            close(standing)
            return [verdict]
    return []


def close_earlier(profile: Profile, account: Account, arrival: Arrival) -> Iterator[Verdict]:
    """Close the findings that another profile opened: none is of two profiles.

    The detectors keep what they remember; where it is above the present threshold too, the next
    query opens a finding under the present profile.
    """
    for name, standing in [*account.standings.items(), *account.retired.items()]:
        if standing.finding is not None and standing.profile != profile.hash:
            evidence = {"profile": profile.hash}
            yield _verdict(profile, account, name, arrival, "profile", evidence, standing)
            close(standing)
    account.retired.clear()


def _verdict(
    profile: Profile,
    account: Account,
    name: str,
    arrival: Arrival,
    reason: Reason,
    evidence: dict[str, Any],
    standing: Standing | None = None,
) -> Verdict:
    """Make the verdict, whose id is that of no earlier query: the next one's."""
    standing = standing or account.standings[name]
    assert standing.finding is not None
    event, source = arrival[:2]
    promise = profile.promise if standing.profile == profile.hash else Promise()
    names = (standing.profile, name, event.account, event.model, account.first_time)
    return Verdict(
        id=verdict_id(*names, account.queries, "close"),
        activity="close",
        finding=standing.finding,
        account=event.account,
        model=event.model,
        detector=name,
        statistic=standing.statistic,
        threshold=standing.threshold,
        severity=SEVERITIES[standing.severity],
        reason=reason,
        agreeing=tuple(
            sorted(
                other
                for other, each in account.standings.items()
                if each.finding is not None and each is not standing
            )
        ),
        queries=account.queries,
        query=max(0, account.queries - 1),
        first_time=account.first_time,
        last_time=event.time,
        evidence=evidence,
        profile=standing.profile,
        promise=msgspec.to_builtins(promise),
        topic=source.topic,
        partition=source.partition,
        offset=source.offset,
        row=0,
    )
