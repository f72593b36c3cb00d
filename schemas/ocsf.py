"""A verdict as an OCSF Detection Finding (class 2004), for SIEMs that read OCSF.

After schema version 1.5.0 (https://schema.ocsf.io/1.5.0/classes/detection_finding), the first
whose attack object names MITRE ATLAS beside ATT&CK. The account stands in `evidences[].actor`: an
`actor` at the top level belongs to profiles. The one profile that is applied is `incident`, where
an analyst has said what the finding was. What has no place in the class is in `unmapped`, as the
standard wants it.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any, Final

from gamekeeper.schemas.verdict import TACTIC, TECHNIQUE, Disposition, Verdict, encode_json

OCSF_VERSION: Final = "1.5.0"
CLASS_UID: Final = 2004
CATEGORY_UID: Final = 2

_ACTIVITIES: Final = {"create": (1, "Create"), "update": (2, "Update"), "close": (3, "Close")}
_STATUSES: Final = {"create": (1, "New"), "update": (2, "In Progress"), "close": (4, "Resolved")}
_SEVERITIES: Final = {
    "low": (2, "Low"),
    "medium": (3, "Medium"),
    "high": (4, "High"),
    "critical": (5, "Critical"),
}
# `verdict_id` and `verdict`, which the profile `incident` adds to a finding.
_DISPOSITIONS: Final[dict[Disposition, tuple[int, str]]] = {
    "false positive": (1, "False Positive"),
    "true positive": (2, "True Positive"),
    "benign": (5, "Benign"),
    "duplicate": (10, "Duplicate"),
}
# Names of the ATLAS entries that verdicts carry by default; others go out by their uid alone.
_NAMES: Final = {
    TACTIC: "Exfiltration",
    TECHNIQUE.rpartition(".")[0]: "Exfiltration via AI Inference API",
    TECHNIQUE: "Extract AI Model",
}
_UNMAPPED: Final = (
    *("schema", "statistic", "threshold", "tail", "query", "queries", "reason", "profile"),
    *("topic", "partition", "offset", "row", "kind", "summary"),
)


def to_ocsf(verdict: Verdict) -> dict[str, Any]:
    """Map a verdict to a Detection Finding document, in JSON's types."""
    activity_id, activity = _ACTIVITIES[verdict.activity]
    status_id, status = _STATUSES[verdict.activity]
    severity_id, severity = _SEVERITIES[verdict.severity]
    return {
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": CATEGORY_UID,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": "Detection Finding",
        "type_uid": CLASS_UID * 100 + activity_id,
        "type_name": f"Detection Finding: {activity}",
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "is_alert": verdict.activity != "close",
        "time": _milliseconds(verdict.last_time),
        "start_time": _milliseconds(verdict.first_time),
        "end_time": _milliseconds(verdict.last_time),
        "count": verdict.queries,
        "message": _message(verdict),
        "metadata": _metadata(verdict),
        "finding_info": _finding_info(verdict),
        "evidences": [_evidence(verdict)],
        "resources": [{"uid": verdict.model, "name": verdict.model, "type": "AI model"}],
        "unmapped": {name: getattr(verdict, name) for name in _UNMAPPED}
        | {"agreeing": list(verdict.agreeing), "promise": _plain(verdict.promise)},
        **_decision(verdict),
    }


def _decision(verdict: Verdict) -> dict[str, Any]:
    """Say what an analyst decided, and why."""
    said: dict[str, Any] = {}
    if verdict.disposition:
        said["verdict_id"], said["verdict"] = _DISPOSITIONS[verdict.disposition]
    if verdict.reason == "analyst" and verdict.evidence.get("note"):
        said["comment"] = verdict.evidence["note"]
    return said


def _milliseconds(microseconds: int) -> int:
    return microseconds // 1000


def _message(verdict: Verdict) -> str:
    if verdict.summary:
        return (
            f"{verdict.activity} ({verdict.reason}): account {verdict.account} at model "
            f"{verdict.model}: {verdict.summary}"
        )
    return (
        f"{verdict.activity} ({verdict.reason}): account {verdict.account} queries model "
        f"{verdict.model} as if to extract it; {verdict.detector} is at {verdict.statistic:.6g}, "
        f"threshold {verdict.threshold:.6g}, after {verdict.queries} queries"
    )


def _metadata(verdict: Verdict) -> dict[str, Any]:
    product = {
        "name": "Gamekeeper",
        "vendor_name": "Gamekeeper",
        "version": version("gamekeeper"),
    }
    profiles = ["incident"] if verdict.disposition else []
    return {"version": OCSF_VERSION, "uid": verdict.id, "product": product, "profiles": profiles}


def _finding_info(verdict: Verdict) -> dict[str, Any]:
    """Describe the episode; `created_time` is known to the verdict that creates it only."""
    info: dict[str, Any] = {
        "uid": verdict.finding,
        "title": f"Model extraction suspected: {verdict.model}",
        "types": ["Model extraction"],
        "first_seen_time": _milliseconds(verdict.first_time),
        "last_seen_time": _milliseconds(verdict.last_time),
        "analytic": {
            "uid": verdict.detector,
            "name": verdict.detector,
            "type_id": 3,
            "type": "Statistical",
            "version": verdict.profile,
        },
        "attacks": [_attack(verdict)],
    }
    moment = "created_time" if verdict.activity == "create" else "modified_time"
    info[moment] = _milliseconds(verdict.last_time)
    return info


def _attack(verdict: Verdict) -> dict[str, Any]:
    """Name the ATLAS tactic and technique; `AML.T0024.002` is a sub-technique of `AML.T0024`."""
    attack = {"tactic": _entry(verdict.tactic)}
    if verdict.technique.count(".") < 2:
        return attack | {"technique": _entry(verdict.technique)}
    parent = verdict.technique.rpartition(".")[0]
    return attack | {"technique": _entry(parent), "sub_technique": _entry(verdict.technique)}


def _entry(uid: str) -> dict[str, str]:
    return {"uid": uid, "name": _NAMES[uid]} if uid in _NAMES else {"uid": uid}


def _evidence(verdict: Verdict) -> dict[str, Any]:
    user = {"uid": verdict.account, "name": verdict.account}
    return {"actor": {"user": user}, "data": _plain(verdict.evidence)}


def _plain(value: dict[str, Any]) -> Any:
    """Leave what JSON can say, as on the topic: no NaN, none of numpy's scalars."""
    return json.loads(encode_json(value))
