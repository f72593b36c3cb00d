"""The sink's health and metrics: ready means that it hears, has partitions and gets on."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gamekeeper.schemas.errors import SettingsError
from gamekeeper.stream.kafka import EmbeddedBroker, Settings
from gamekeeper.stream.sink import Sink, member, sink
from gamekeeper.stream.sink.files import Drafts
from support import brokers, ports
from support.retention import expire, late_beginning
from support.sink_traffic import complete, send, traffic
from support.sinks import process, running, variables
from support.workers import prepare, wait_for

pytestmark = pytest.mark.broker


def asked(port: int, path: str) -> tuple[int, str]:
    """Ask a sink's HTTP; status 0 where nothing answers."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def says(port: int, status: int, words: str) -> Callable[[], bool]:
    """Say whether it is ready, or not for a reason."""

    def check() -> bool:
        found, text = asked(port, "/readyz")
        return found == status and words in text

    return check


def metric(port: int, name: str, topic: str) -> float:
    """Read one of its metrics for a topic."""
    families = text_string_to_metric_families(asked(port, "/metrics")[1])
    samples = [each for family in families for each in family.samples if each.name == name]
    return sum(each.value for each in samples if each.labels["topic"] == topic)


def test_ready_means_that_it_hears(
    own_broker: brokers.LoopbackBroker, names: brokers.Names, tmp_path: Path
) -> None:
    """Alive and not ready before there is a broker and while it is frozen; ready in between."""
    port = ports.reserve()
    environ = variables(names, own_broker) | {"GAMEKEEPER_SINK_HTTP_PORT": str(port)}
    own_broker.kill()
    with process(environ, tmp_path / "tables"):
        wait_for(says(port, 503, "waiting for the broker"))
        assert asked(port, "/livez") == (200, "alive\n")
    own_broker.start()
    prepare(environ)  # before a sink finds that there are none
    with process(environ, tmp_path / "tables"):
        wait_for(says(port, 200, "ready"))
        assert own_broker.pid is not None
        os.kill(own_broker.pid, signal.SIGSTOP)
        wait_for(says(port, 503, "nothing heard from Kafka"))
        assert asked(port, "/livez")[0] == 200
        os.kill(own_broker.pid, signal.SIGCONT)
        wait_for(says(port, 200, "ready"))
        assert asked(port, "/other")[0] == 404


def test_what_is_written_and_what_is_lost_is_counted(
    broker: brokers.Broker,
    names: brokers.Names,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By topic; what had expired before it was read counts as lost."""
    port = ports.reserve()
    environ = variables(names, broker) | {
        "GAMEKEEPER_SINK_HTTP_PORT": str(port),
        "GAMEKEEPER_PARTITIONS": "1",
    }
    settings = prepare(environ)
    queries, verdicts = settings.topics.queries, settings.topics.verdicts
    records = [each for each in traffic(settings, 40) if each.topic == queries]
    send(settings, records)
    with running(settings, tmp_path, "queries"):
        wait_for(lambda: metric(port, "gamekeeper_sink_records_total", queries) == len(records))
    if isinstance(broker, EmbeddedBroker):  # it removes no records
        monkeypatch.setattr(member, "consumer", late_beginning(len(records) + 3))
    send(settings, records)
    if not isinstance(broker, EmbeddedBroker):
        expire(settings, queries, 0, len(records) + 3)
    with running(settings, tmp_path, "queries", "verdicts"):
        wait_for(lambda: metric(port, "gamekeeper_sink_records_lost_total", queries) == 3)
        left = len(records) - 3
        wait_for(lambda: metric(port, "gamekeeper_sink_records_total", queries) == left)
        assert metric(port, "gamekeeper_sink_records_lost_total", verdicts) == 0


def test_a_disk_that_hangs_is_told(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has been writing for too long is not ready, and says which topic."""
    hanging = threading.Event()
    publish = Drafts.publish
    monkeypatch.setattr(sink, "HANGING_SECONDS", 0.1)
    monkeypatch.setattr(Drafts, "publish", lambda self: hanging.wait(60) and publish(self))
    records = traffic(settings, 10)
    send(settings, records)
    with running(settings, tmp_path) as run:
        wait_for(lambda: "writing" in (run.sink.obstacle() or ""))
        hanging.set()
        wait_for(complete(tmp_path, records, settings))
        wait_for(lambda: run.sink.obstacle() is None)


def test_a_taken_port_is_named(settings: Settings, tmp_path: Path) -> None:
    """Another process's port is refused, saying which setting to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = msgspec.structs.replace(settings, sink_http_port=port)
        with pytest.raises(SettingsError, match=f"GAMEKEEPER_SINK_HTTP_PORT={port}"):
            Sink(other, tmp_path, {}, threading.Event()).run()
