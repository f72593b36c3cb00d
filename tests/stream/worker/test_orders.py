"""An analyst's order goes through the topic, the worker and the verdicts, and is taken once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from gamekeeper.replay.cli.verdicts import verdicts
from gamekeeper.schemas.order import CloseOrder, encode_order
from gamekeeper.schemas.verdict import Verdict, decode_verdict
from gamekeeper.stream.kafka import Settings
from support.brokers import Broker, Names
from support.crashing import make_trace
from support.workers import Worker, all_applied, environ_for, prepare, read, send, wait_for

pytestmark = pytest.mark.broker

LATCHED = {"name": "latched", "detectors": [{"detector": "prada", "threshold": 0.0}]}


def told(settings: Settings) -> list[Verdict]:
    """Read the verdicts topic."""
    records = read(settings, settings.topics.verdicts)
    return [decode_verdict(record.value) for record in records]


def test_a_closed_finding_stays_closed_and_a_stranger_closes_none(
    broker: Broker, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command closes one finding, across a restart; bad and foreign orders change nothing.

    What the analyst says of it is in the verdict that closes it.
    """
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps(LATCHED))
    environ = environ_for(broker.address, names.environ, tmp_path / "data")
    environ["GAMEKEEPER_PROFILE"] = str(profile)
    settings = prepare(environ)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    send(settings, make_trace(1200))
    with Worker(environ):
        wait_for(lambda: all_applied(settings))
        opened = told(settings)
        assert {each.activity for each in opened} <= {"create", "update"}
        chosen = opened[0]
        result = CliRunner().invoke(
            verdicts,
            [
                *("close", chosen.finding, "--brokers", broker.address),
                *("--disposition", "benign", "--note", "our own test", "--analyst", "kim"),
            ],
        )
        assert result.exit_code == 0, result.output
        wait_for(lambda: all_applied(settings))
    key = chosen.account.encode()
    order = CloseOrder(account=chosen.account, model="digits", finding=chosen.finding, time=1)
    stranger = CloseOrder(account="nobody", model="digits", finding=chosen.finding, time=1)
    send(
        settings,
        [
            (key, encode_order(order)),
            (b"nobody", encode_order(stranger)),
            (key, encode_order(stranger)),
            (key, b"{"),
        ],
    )
    with Worker(environ):
        wait_for(lambda: all_applied(settings))
    [closed] = [each for each in told(settings) if each.activity == "close"]
    assert (closed.finding, closed.reason) == (chosen.finding, "analyst")
    assert closed.disposition == "benign"
    assert closed.evidence == {"analyst": "kim", "note": "our own test"}
    assert len(read(settings, settings.topics.dead_letters)) == 2
    again = CliRunner().invoke(verdicts, ["close", chosen.finding, "--brokers", broker.address])
    assert again.exit_code == 2
    assert "closed already" in again.output
