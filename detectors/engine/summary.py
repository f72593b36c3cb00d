"""A finding in plain words: what was seen, how sure that is, what speaks against it, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine.policy import Standing
from gamekeeper.detectors.engine.profile import Promise
from gamekeeper.schemas.verdict import Kind

NEXT: Final[Mapping[Kind, str]] = {
    "theft": "Hardly any honest customer does this: look at the queries named, and act.",
    "variants": "Crops, frames and explainers do this, too: ask what the account is for.",
    "other data": "A customer with another camera or other goods does this, too: look at some.",
    "load": "Load tests and nightly batches do this, too: ask what the account is for.",
}


def summarize(
    detector: str, standing: Standing, promise: Promise, evidence: Mapping[str, Any]
) -> str:
    """Say it in a few sentences; empty where the detector has no words for it."""
    told = DETECTORS[detector].tell(evidence)
    if not told:
        return ""
    sentences = [f"{told[0].upper()}{told[1:]}.", _sure(standing, promise)]
    if evidence.get("repeats"):
        sentences.append(f"Exact repeats are left out, {evidence['repeats']:,} so far.")
    return " ".join([*sentences, NEXT[DETECTORS[detector].kind]])


def _sure(standing: Standing, promise: Promise) -> str:
    at = f"The statistic is {standing.statistic:.4g}; above {standing.threshold:.4g} it alarms"
    if promise.alpha is None:
        return f"{at}, and no rate of false alarms is promised."
    return (
        f"{at}, as at most {100 * promise.alpha:g} % of benign accounts ever do in "
        f"{promise.life:,} queries, by any detector."
    )
