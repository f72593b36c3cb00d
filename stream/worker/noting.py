"""What is noted of an account to hold its lives against the promise of the profile that judges it.

It follows from the account's own events alone, and is stored with it: so it is the same after any
crash, in whatever batches the events come. It changes no verdict.
"""

from __future__ import annotations

from gamekeeper.detectors.drift import Judged
from gamekeeper.detectors.engine import Outcome
from gamekeeper.detectors.engine.declared import NAME as DECLARED
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.verdict import Verdict
from gamekeeper.stream.worker.row_codec import Noted


def note(known: Noted | None, profile: str, outcome: Outcome) -> Noted | None:
    """Add what an event has led to under a profile's hash; an order to close changes nothing.

    Where another profile judged the account so far, or it has been forgotten, it begins anew.
    """
    event = outcome.arrival.event
    if not isinstance(event, QueryEvent):
        return known
    if known is None or not _goes_on(known, profile, outcome.first):
        known = Noted(profile, outcome.first, Judged(event.time, event.time, 0))
    judged = known.judged
    judged = judged._replace(last=max(judged.last, event.time), queries=judged.queries + len(event))
    for verdict in outcome.verdicts:
        if judged.found is None and counts(verdict, profile):
            judged = judged._replace(
                found=max(0, verdict.query - known.first),
                found_at=verdict.last_time,
                kind=verdict.kind or "",
            )
    return known._replace(judged=judged)


def counts(verdict: Verdict, profile: str) -> bool:
    """Say whether a verdict is an alarm of the kind that a profile's promise is about.

    What people have declared of an account is none: neither a finding that is held at low for it,
    nor that of a declaration that was broken.
    """
    opened = (verdict.activity, verdict.profile) == ("create", profile)
    return opened and verdict.detector != DECLARED and verdict.severity != "low"


def _goes_on(known: Noted, profile: str, first: int) -> bool:
    """Say whether the account's query of this index is the next one that the profile judges."""
    return known.profile == profile and first == known.first + known.judged.queries
