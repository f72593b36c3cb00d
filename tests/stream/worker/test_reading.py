"""A detector that reads the others, on a worker: the same verdicts as offline, through a kill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gamekeeper.schemas.verdict import decode_verdict
from gamekeeper.stream.profile_files import load_profile
from support.brokers import Broker, Names
from support.crashing import PROFILE, make_trace
from support.online import alarming, expected_under, found
from support.workers import Worker, all_applied, prepare, send, wait_for

pytestmark = pytest.mark.broker

HABITS = "prada,prada-v1;0.01,0;0.005,1;0,0;0.5,0"


def test_a_worker_judges_by_what_the_others_say(
    broker: Broker, names: Names, tmp_path: Path
) -> None:
    """What they said last is restored with them: what follows a kill is judged as offline."""
    environ = alarming(broker, names, tmp_path)
    environ["GAMEKEEPER_BATCH_EVENTS"] = "50"
    detectors = [
        {"detector": "novelty", "options": {"habits": HABITS}, "threshold": 0.5},
        {"detector": "prada", "options": {}},
        {"detector": "prada-v1", "options": {}},
    ]
    chosen = tmp_path / "profile.json"
    latched = {**PROFILE, "detectors": detectors, "policy": {"mode": "latch"}}
    chosen.write_text(json.dumps(latched))
    settings = prepare(environ)
    trace = make_trace(1800)
    half = len(trace) // 2
    with Worker(environ) as worker:
        send(settings, trace[:half])
        wait_for(worker.ready)
        worker.kill()
        worker.start()
        send(settings, trace[half:])
        wait_for(lambda: all_applied(settings))
        assert worker.metric("gamekeeper_state_lost_total") == 0
    truth = expected_under(settings, load_profile(chosen), [])
    assert found(settings) == truth
    verdicts = [decode_verdict(each) for each in truth.values()]
    assert {each.detector for each in verdicts} == {"novelty"}
    assert {each.activity for each in verdicts} == {"create", "update"}
