"""Verdicts for tests of what reads them."""

from __future__ import annotations

from typing import Any

from gamekeeper.schemas.verdict import Activity, Verdict, finding_id, verdict_id
from support.traces import START


def make_verdict(
    account: str,
    query: int,
    activity: Activity,
    *,
    statistic: float = 0.06,
    opened: int | None = None,
    **changes: Any,
) -> Verdict:
    """Make a verdict of the finding that `opened` names: by default the account's only one."""
    names = "0123456789abcdef", "prada", account, "digits", START
    reason = {"create": "threshold", "update": "escalation", "close": "expired"}[activity]
    fields: dict[str, Any] = {
        "id": verdict_id(*names, query, activity),
        "activity": activity,
        "finding": finding_id(*names, opened or 0),
        "account": account,
        "model": "digits",
        "detector": "prada",
        "statistic": statistic,
        "threshold": 0.05,
        "severity": "medium",
        "queries": query + 1,
        "query": query,
        "first_time": START,
        "last_time": START + query * 1000,
        "reason": reason,
        "evidence": {
            "w": 1 - statistic,
            "distances": 150,
            "closest": [{"query": 7, "nearest": 3, "distance": 0.25}],
            "mode": "hardened",
        },
        "profile": names[0],
        "promise": {"alpha": None, "accounts": 0, "life": None, "populations": []},
        "topic": "gamekeeper.queries",
        "partition": 1,
        "offset": query,
        "row": 0,
    }
    return Verdict(**{**fields, **changes})
