"""Findings are told in plain words, with what is promised and what was left out."""

from __future__ import annotations

import numpy as np
import pytest

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import (
    Arrival,
    DetectorProfile,
    Engine,
    Profile,
    Promise,
    Source,
    Standing,
    resolve,
)
from gamekeeper.detectors.engine.summary import NEXT, summarize
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.ocsf import to_ocsf
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Verdict, decode_verdict, encode_verdict
from support.toys import Echo

EVIDENCE = {
    "steps": 87,
    "window": 1000,
    "flat": 0.9,
    "remembered": 900,
    "latest": [{"query": 977, "earlier": 12, "changed": 0.634, "size": 20.0, "flatness": 0.97}],
}


def test_what_is_said_of_steps() -> None:
    """Figures, promise, repeats and what to do, each in a sentence."""
    standing = Standing("f", 87.0, 3, 0, "p", 5.0)
    promise = Promise(alpha=0.01, life=10_000, accounts=99)
    assert summarize("steps", standing, promise, EVIDENCE | {"repeats": 1200}) == (
        "87 of its latest 1,000 queries are made from earlier ones by steps of one size; the "
        "latest, query 977, changes 63% of query 12 by 20. The statistic is 87; above 5 it alarms, "
        "as at most 1 % of benign accounts ever do in 10,000 queries, by any detector. Exact "
        "repeats are left out, 1,200 so far. Hardly any honest customer does this: look at the "
        "queries named, and act."
    )
    told = summarize("steps", standing, Promise(), EVIDENCE)
    assert "above 5 it alarms, and no rate of false alarms is promised." in told
    assert "repeats" not in told


TERMS = {"habit": "load test", "owner": "SRE", "until": "2027-03-01", "budget": 5000}


def test_what_is_said_while_a_declared_habit_holds_a_finding() -> None:
    """By whose word it is low, after the evidence, in the place of what to do."""
    evidence = {"queries": 100, "per_second": 12.0, "label_entropy": 2.0, "classes": 10}
    standing = Standing("f", 88.0, 0, 0, "p", 20.0, 2)
    held = {"declared": TERMS | {"left": 4100, "otherwise": "high"}}
    assert summarize("rate", standing, Promise(), evidence | held) == (
        "Its latest 100 queries came at 12 a second, over 10 classes. The statistic is 88; above "
        "20 it alarms, and no rate of false alarms is promised. It is held at low, otherwise high: "
        "SRE has declared the account a load test until 2027-03-01; 4,100 of 5,000 queries are "
        "left that day."
    )


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        ("undeclared", "no habit that explains it is declared any more"),
        ("until", "SRE declared the account a load test until 2027-03-01"),
        ("budget", "SRE declared the account a load test of 5,000 queries a day, and more came"),
        ("inputs", "SRE declared the account a load test of 20 inputs, and others came"),
    ],
)
def test_what_is_said_when_it_no_longer_does(ended: str, why: str) -> None:
    """Why, first, and what to do; the evidence is with the verdicts before."""
    standing = Standing("f", 88.0, 2, 0, "p", 20.0)
    terms = {} if ended == "undeclared" else TERMS | {"inputs": 20}
    told = summarize("rate", standing, Promise(), {"declared": terms | {"ended": ended}})
    assert told == (
        f"It is no longer held at low: {why}. The statistic is 88; above 20 it alarms, and no rate "
        f"of false alarms is promised. {NEXT['load']}"
    )


@pytest.mark.parametrize("name", list(DETECTORS))
def test_every_kind_has_a_next_step(name: str) -> None:
    """So that a new kind cannot be forgotten."""
    assert DETECTORS[name].kind in NEXT


def verdicts(detector: str) -> list[Verdict]:
    """Let a thief make queries by steps, and an analyst close what comes of it."""
    made = DetectorProfile(detector=detector, options={}, threshold=5.0)
    engine = Engine(resolve(Profile(name="p", detectors=(made,))))
    rng = np.random.default_rng(0)
    own = rng.normal(size=(100, 144)).astype(np.float32)
    steps = own[:20] + np.float32(0.1) * rng.choice([-1, 1], size=(20, 144)).astype(np.float32)
    inputs = np.concatenate([own, own[:7], steps])
    event = QueryEvent(
        id="1",
        account="ada",
        model="digits",
        time=0,
        inputs=Tensor.from_array(inputs * 9),
        labels=[0] * len(inputs),
    )
    [first] = engine.process([Arrival(event, Source("queries", 0, 0))])
    order = CloseOrder(
        account="ada",
        model="digits",
        time=1,
        finding=first.verdicts[0].finding,
        analyst="eve",
        note="ours",
    )
    [second] = engine.process([Arrival(order, Source("queries", 0, 1))])
    return [decode_verdict(encode_verdict(each)) for each in first.verdicts + second.verdicts]


def test_verdicts_carry_it_to_a_siem() -> None:
    """Those that open or escalate; one that closes has its reason."""
    opened, *grown, closed = verdicts("steps")
    assert [each.severity for each in grown] == ["high", "critical"]
    assert [each.summary[:3] for each in grown] == ["10 ", "20 "]
    assert opened.kind == closed.kind == "theft"
    assert opened.summary.startswith("6 of its latest 1,000 queries are made from earlier ones")
    assert "Exact repeats are left out, 7 so far." in opened.summary
    assert to_ocsf(opened)["message"] == (
        f"create (threshold): account ada at model digits: {opened.summary}"
    )
    assert closed.summary == ""
    assert "as if to extract it" in to_ocsf(closed)["message"]


def test_a_detector_without_words_is_none_to_stumble_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its verdicts have no summary."""
    monkeypatch.setitem(DETECTORS, Echo.name, Echo)
    assert {each.summary for each in verdicts("echo")} == {""}
