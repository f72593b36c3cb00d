"""Logs: one line of JSON each, ours and the libraries', on stderr."""

from __future__ import annotations

import json

import pytest

from gamekeeper.schemas.errors import SettingsError
from gamekeeper.stream.logs import configure
from support.processes import python

PROGRAM = """
import logging, os, structlog
from gamekeeper.stream.logs import configure
from gamekeeper.schemas.text import Secret
configure(os.environ)
log = structlog.get_logger("gamekeeper.stream")
log.info("started", partitions=4, password=Secret("hunter2"))
log.debug("detail")
logging.getLogger("faust.app").info("rebalancing")
logging.getLogger("faust.app").error("broker %s is gone", "b1")
try:
    secret_local = "hunter2"
    raise ValueError("broken")
except ValueError as error:
    log.error("failed", exc_info=error)
"""

REPEATS = """
import logging, os
from gamekeeper.stream import logs
logs.configure(os.environ)
for line in range(100):
    logging.getLogger("aiokafka").error("Unable to update metadata from %s", [line % 2])
    logging.getLogger("mine").error("as often as I like")
logs.REPEAT_SECONDS = 0
logging.getLogger("aiokafka").error("Unable to update metadata from %s", [0])
"""

# What Kafka's clients log while they log in by PLAIN: the first line is theirs, the others are
# logged as in kafka/net/connection.py and aiokafka/conn.py.
LOGIN = """
import logging, os
from aiokafka.protocol.admin import SaslAuthenticateRequest_v0, SaslAuthenticateRequest_v1
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest
from gamekeeper.stream.logs import configure
configure(os.environ)
token = b"\\0keeper\\0hunter2"
request = SaslAuthenticateRequest(token)
request.API_VERSION = 1
KafkaProtocol().send_request(request)
logging.getLogger("kafka.net.connection").debug("%s Request %d: %s", "connection", 1, request)
for kind in (SaslAuthenticateRequest_v0, SaslAuthenticateRequest_v1):
    assert "hunter2" in repr(kind(token))
    logging.getLogger("aiokafka.conn").debug("Request to %s:%d %d: %s", "host", 9, 1, kind(token))
"""


def run(program: str = PROGRAM, **environ: str) -> tuple[str, str]:
    """Run a program; return its stdout and stderr."""
    done = python(program, **environ)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_libraries_do_not_repeat_themselves() -> None:
    """What Kafka's clients say ten times a second is told once in some seconds, each line of it."""
    _, err = run(REPEATS, GAMEKEEPER_LOG_FORMAT="json")
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events.count("Unable to update metadata from [0]") == 2
    assert events.count("Unable to update metadata from [1]") == 1
    assert events.count("as often as I like") == 100


def test_lines_are_json() -> None:
    """Each line has its time, level, logger and event, whoever wrote it."""
    out, err = run(GAMEKEEPER_LOG_FORMAT="json")
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines] == ["started", "broker b1 is gone", "failed"]
    assert [line["logger"] for line in lines[:2]] == ["gamekeeper.stream", "faust.app"]
    assert lines[0]["partitions"] == 4
    assert all(line["timestamp"].endswith("Z") and line["level"] for line in lines)
    assert "ValueError: broken" in lines[2]["exception"]
    assert out == ""


def test_secrets_stay_out() -> None:
    """A secret shows itself as stars, and tracebacks hold no local variables' values."""
    for style in ("json", "console"):
        _, err = run(GAMEKEEPER_LOG_FORMAT=style)
        assert "hunter2" not in err.replace('secret_local = "hunter2"', "")


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_login_is_logged_without_its_password(style: str) -> None:
    """At DEBUG, requests that log in are named, whichever client sends them, and not shown."""
    _, err = run(LOGIN, GAMEKEEPER_LOG_LEVEL="DEBUG", GAMEKEEPER_LOG_FORMAT=style)
    assert err.count("SaslAuthenticateRequest") == 4
    assert "hunter2" not in err


def test_the_level_lets_more_or_less_through() -> None:
    """At DEBUG everything is logged, the libraries' steps too; at ERROR only errors."""
    assert run(GAMEKEEPER_LOG_LEVEL="DEBUG", GAMEKEEPER_LOG_FORMAT="json")[1].count("\n") == 5
    assert run(GAMEKEEPER_LOG_LEVEL="ERROR", GAMEKEEPER_LOG_FORMAT="json")[1].count("\n") == 2


def test_the_console_is_for_reading() -> None:
    """The console format is text with the event in it."""
    _, err = run(GAMEKEEPER_LOG_FORMAT="console")
    assert "started" in err
    assert not err.startswith("{")


@pytest.mark.parametrize("name", ["GAMEKEEPER_LOG_FORMAT", "GAMEKEEPER_LOG_LEVEL"])
def test_an_unknown_choice_is_refused(name: str) -> None:
    """A wrong setting is named together with what is right."""
    with pytest.raises(SettingsError, match=f"{name}='loud': wanted one of"):
        configure({name: "loud"})
