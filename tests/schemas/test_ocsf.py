"""Verdicts as OCSF Detection Findings, held against a schema written from OCSF's documentation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gamekeeper.schemas.ocsf import to_ocsf
from gamekeeper.schemas.verdict import Verdict

MakeVerdict = Callable[..., Verdict]
SCHEMA = json.loads(
    (Path(__file__).parent / "ocsf_detection_finding_1_5_0.schema.json").read_text()
)


def check(document: dict[str, Any]) -> None:
    """Validate a document as it would be printed."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    printed = json.loads(json.dumps(document, allow_nan=False))
    jsonschema.Draft202012Validator(SCHEMA).validate(printed)


@pytest.mark.parametrize("severity", ["low", "medium", "high", "critical"])
@pytest.mark.parametrize("activity", ["create", "update", "close"])
def test_documents_validate(make_verdict: MakeVerdict, activity: str, severity: str) -> None:
    """Each activity and severity gives a valid document, NaN in the evidence included."""
    check(to_ocsf(make_verdict(activity=activity, severity=severity)))
    check(to_ocsf(make_verdict(activity=activity, evidence={"w": float("nan")})))


@pytest.mark.parametrize(
    ("activity", "activity_id", "type_uid", "status_id", "is_alert"),
    [
        ("create", 1, 200401, 1, True),
        ("update", 2, 200402, 2, True),
        ("close", 3, 200403, 4, False),
    ],
)
def test_numbers_follow_the_activity(
    make_verdict: MakeVerdict,
    activity: str,
    activity_id: int,
    type_uid: int,
    status_id: int,
    is_alert: bool,
) -> None:
    """Activity, type and status have OCSF's numbers."""
    document = to_ocsf(make_verdict(activity=activity))
    assert document["activity_id"] == activity_id
    assert document["type_uid"] == type_uid
    assert document["status_id"] == status_id
    assert document["is_alert"] is is_alert


def test_severities_have_their_numbers(make_verdict: MakeVerdict) -> None:
    """Low to critical are 2 to 5."""
    names = ["low", "medium", "high", "critical"]
    numbers = [to_ocsf(make_verdict(severity=name))["severity_id"] for name in names]
    assert numbers == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("disposition", "number", "name"),
    [
        ("false positive", 1, "False Positive"),
        ("true positive", 2, "True Positive"),
        ("benign", 5, "Benign"),
        ("duplicate", 10, "Duplicate"),
    ],
)
def test_what_an_analyst_decided_has_its_number(
    make_verdict: MakeVerdict, disposition: str, number: int, name: str
) -> None:
    """With the note as the comment, under the profile that has such attributes."""
    closed = make_verdict(
        activity="close",
        reason="analyst",
        evidence={"analyst": "kim", "note": "our own test"},
        disposition=disposition,
    )
    document = to_ocsf(closed)
    check(document)
    assert (document["verdict_id"], document["verdict"]) == (number, name)
    assert document["comment"] == "our own test"
    assert document["metadata"]["profiles"] == ["incident"]


def test_what_no_analyst_decided_says_nothing_of_it(make_verdict: MakeVerdict) -> None:
    """Neither where none closed it, nor where one has not said what it was."""
    for reason, evidence in (("expired", {"note": 1}), ("analyst", {"analyst": "", "note": ""})):
        document = to_ocsf(make_verdict(activity="close", reason=reason, evidence=evidence))
        check(document)
        assert not {"verdict_id", "verdict", "comment"} & set(document)


def test_nothing_of_the_verdict_is_lost(make_verdict: MakeVerdict) -> None:
    """Every field of a verdict can be found in its document."""
    verdict = make_verdict(id="v-1", finding="f-1", account="zoë", agreeing=("prada", "similarity"))
    document = to_ocsf(verdict)
    info = document["finding_info"]
    attack = info["attacks"][0]
    evidence = document["evidences"][0]
    assert document["metadata"]["uid"] == "v-1"
    assert info["uid"] == "f-1"
    assert evidence["actor"]["user"]["uid"] == "zoë"
    assert evidence["data"] == verdict.evidence
    assert document["resources"][0]["uid"] == verdict.model
    assert info["analytic"]["uid"] == verdict.detector
    assert attack["tactic"]["uid"] == "AML.TA0010"
    assert attack["technique"]["uid"] == "AML.T0024"
    assert attack["sub_technique"] == {"uid": "AML.T0024.002", "name": "Extract AI Model"}
    assert document["time"] == info["last_seen_time"] == 1_700_000_060_000
    assert info["first_seen_time"] == 1_700_000_000_000
    mapped = {"id", "finding", "account", "model", "detector", "activity", "severity", "evidence"}
    mapped |= {"technique", "tactic", "first_time", "last_time", "agreeing", "disposition"}
    assert document["unmapped"]["agreeing"] == ["prada", "similarity"]
    for name in set(Verdict.__struct_fields__) - mapped:
        assert document["unmapped"][name] == getattr(verdict, name)


def test_a_technique_without_a_parent_stands_alone(make_verdict: MakeVerdict) -> None:
    """A verdict with another technique gives its uid, without a made-up name."""
    document = to_ocsf(make_verdict(technique="AML.T0099", tactic="AML.TA0099"))
    check(document)
    attack = document["finding_info"]["attacks"][0]
    assert attack == {"tactic": {"uid": "AML.TA0099"}, "technique": {"uid": "AML.T0099"}}


def test_the_schema_refuses_what_ocsf_forbids(make_verdict: MakeVerdict) -> None:
    """The validator is no rubber stamp: unknown attributes and wrong units are refused."""
    good = to_ocsf(make_verdict())
    for bad in ({"account": "ada"}, {"time": 1_700_000_000}, {"type_uid": 2004}):
        with pytest.raises(jsonschema.ValidationError):
            check({**good, **bad})
