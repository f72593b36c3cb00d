"""Declared habits on a worker: the same verdicts as offline, through kills and other profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gamekeeper.detectors.engine.declared import NAME
from gamekeeper.replay.cli.profile import profile as command
from gamekeeper.schemas.verdict import Verdict, decode_verdict
from gamekeeper.stream.profile_files import load_profile
from support.brokers import Broker, Names
from support.crashing import PROFILE, make_trace
from support.online import alarming, expected_under, found
from support.workers import Worker, all_applied, prepare, send, wait_for

pytestmark = pytest.mark.broker


def declaring(name: str, *habits: dict[str, Any]) -> dict[str, Any]:
    """Make a profile that alarms soon and declares habits."""
    return {**PROFILE, "name": name, "policy": {"mode": "latch"}, "habits": habits}


def explainer(account: str, budget: int) -> dict[str, Any]:
    """Declare an explainer: what the profile's detectors see are variants."""
    terms = {"habit": "explainer", "owner": "Kim", "until": "1970-01-02", "budget": budget}
    return {"account": account, **terms}


def test_a_worker_holds_to_what_is_declared(broker: Broker, names: Names, tmp_path: Path) -> None:
    """One account keeps to it, one exceeds its budget, of one it is revoked, one is a probe."""
    environ = alarming(broker, names, tmp_path)
    environ["GAMEKEEPER_BATCH_EVENTS"] = "50"
    kept, over, gone = explainer("account-0", 10**6), explainer("account-1", 200), "account-2"
    probe = {**explainer("account-3", 10**6), "habit": "probe", "inputs": 20}
    first, then = tmp_path / "profile.json", tmp_path / "then.json"
    first.write_text(json.dumps(declaring("first", kept, over, probe, explainer(gone, 10**6))))
    then.write_text(json.dumps(declaring("then", kept, over, probe)))
    settings = prepare(environ)
    trace = make_trace(1800)
    half = len(trace) // 2
    with Worker(environ) as worker:
        send(settings, trace[: half // 2])
        wait_for(worker.ready)
        worker.kill()
        worker.start()
        send(settings, trace[half // 2 : half])
        announced = CliRunner().invoke(command, ["announce", str(then)], env=environ)
        assert announced.exit_code == 0, announced.output
        send(settings, trace[half:])
        wait_for(lambda: all_applied(settings))
        assert worker.metric("gamekeeper_verdicts_total", detector=NAME, activity="create") >= 1
        assert worker.metric("gamekeeper_state_lost_total") == 0
    truth = expected_under(settings, load_profile(first), [load_profile(then)])
    assert found(settings) == truth
    verdicts = [decode_verdict(each) for each in truth.values()]
    assert severities(verdicts, "account-0") == {"low"}
    assert "low" in severities(verdicts, "account-1") & severities(verdicts, gone)
    for account in ("account-1", gone):
        assert latest(verdicts, account, "prada") != "low"
    assert latest(verdicts, "account-1", NAME) == latest(verdicts, "account-3", NAME) == "medium"
    assert "low" not in severities(verdicts, "account-3")
    assert not [each for each in verdicts if each.activity == "close"]


def severities(verdicts: list[Verdict], account: str) -> set[str]:
    """Name the severities that an account's findings had."""
    return {each.severity for each in verdicts if each.account == account}


def latest(verdicts: list[Verdict], account: str, detector: str) -> str:
    """Say how severe a finding is at last."""
    own = [each for each in verdicts if (each.account, each.detector) == (account, detector)]
    return max(own, key=lambda each: each.query).severity
