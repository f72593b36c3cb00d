"""A finding in plain words: what was seen, how sure that is, what speaks against it, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine.declared import NAME as DECLARED
from gamekeeper.detectors.engine.policy import SEVERITIES, Standing
from gamekeeper.detectors.engine.profile import Promise
from gamekeeper.schemas.verdict import Kind

NEXT: Final[Mapping[Kind, str]] = {
    "theft": "Hardly any honest customer does this: look at the queries named, and act.",
    "variants": "Crops, frames and explainers do this, too: ask what the account is for.",
    "other data": "A customer with another camera or other goods does this, too: look at some.",
    "load": "Load tests and nightly batches do this, too: ask what the account is for.",
}


HABITS: Final[Mapping[str, str]] = {
    "probe": "a probe",
    "load test": "a load test",
    "explainer": "an explainer",
    "other camera": "another camera",
}
"""The habits that can be declared, in a sentence."""
ENDED: Final = {
    "undeclared": "no habit that explains it is declared any more",
    "until": "{owner} declared the account {habit} until {until}",
    "budget": "{owner} declared the account {habit} of {budget:,} queries a day, and more came",
    "inputs": "{owner} declared the account {habit} of {inputs:,} inputs, and others came",
}
"""Why a finding is no longer held at low, by what its evidence says."""


def summarize(
    detector: str, standing: Standing, promise: Promise, evidence: Mapping[str, Any]
) -> str:
    """Say it in a few sentences; empty where the detector has no words for it."""
    if detector == DECLARED:
        return _broken(evidence)
    held = evidence.get(DECLARED)
    told = DETECTORS[detector].tell(evidence) if evidence.keys() - {DECLARED} else ""
    if not told and not held:
        return ""
    first = f"{told[0].upper()}{told[1:]}." if told else _held(standing, evidence[DECLARED])
    sentences = [first, _sure(standing, promise)]
    if evidence.get("repeats"):
        sentences.append(f"Exact repeats are left out, {evidence['repeats']:,} so far.")
    if held and told:
        sentences.append(_held(standing, held))
    if not held or "ended" in held:
        sentences.append(NEXT[DETECTORS[detector].kind])
    return " ".join(sentences)


def _held(standing: Standing, held: Mapping[str, Any]) -> str:
    """Say that a declared habit holds a finding at low, or that it does so no longer."""
    if "ended" in held:
        why = ENDED[held["ended"]].format_map(_worded(held))
        return f"It is no longer held at low: {why}."
    return (
        "It is held at {severity}, otherwise {otherwise}: {owner} has declared the account "
        "{habit} until {until}; {left:,} of {budget:,} queries are left that day."
    ).format_map(_worded(held) | {"severity": SEVERITIES[standing.severity]})


def _broken(evidence: Mapping[str, Any]) -> str:
    """Say that a declaration is broken, and whom to ask."""
    how = {
        "budget": "of at most {budget:,} queries a day: this was query {queries:,} of {day}",
        "inputs": "of {inputs:,} inputs, and this was another one",
    }[evidence["broken"]]
    return (
        "{owner} declared the account {habit} until {until}, " + how + ". From here on its "
        "findings are graded as anybody's. Ask {owner}: if it was no stranger, declare the habit "
        "anew; else somebody has taken the account over: act."
    ).format_map(_worded(evidence))


def _worded(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {**evidence, "habit": HABITS.get(evidence.get("habit", ""), "")}


def _sure(standing: Standing, promise: Promise) -> str:
    at = f"The statistic is {standing.statistic:.4g}; above {standing.threshold:.4g} it alarms"
    if promise.alpha is None:
        return f"{at}, and no rate of false alarms is promised."
    return (
        f"{at}, as at most {100 * promise.alpha:g} % of benign accounts ever do in "
        f"{promise.life:,} queries, by any detector."
    )
