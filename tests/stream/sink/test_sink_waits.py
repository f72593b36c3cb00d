"""The sink and a broker that is away: it waits, says so, and ends when it is told to."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, errors

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import EmbeddedBroker, Settings
from gamekeeper.stream.sink import member, sink
from support import brokers
from support.proxy import DeafProxy, proxied_broker
from support.sink_traffic import complete, send, tables, traffic
from support.sinks import (
    log_of,
    process,
    run_alone,
    run_until_complete,
    running,
    started,
    variables,
)
from support.workers import PATIENCE, prepare, wait_for

pytestmark = pytest.mark.broker
COMMIT = 8
"""Kafka's key of the requests that commit offsets."""
ENDS = [signal.SIGTERM, signal.SIGINT]


def lines(folder: Path) -> int:
    """Count the lines that say that a broker is waited for."""
    return log_of(folder).read_text().count('"waiting for the broker"')


@pytest.mark.parametrize("end", ENDS)
def test_a_sink_starts_when_there_is_a_broker(
    own_broker: brokers.LoopbackBroker, names: brokers.Names, tmp_path: Path, end: signal.Signals
) -> None:
    """Started while the broker is away, a sink waits for it, or for the end."""
    environ = variables(names, own_broker)
    settings = prepare(environ)
    records = traffic(settings, 20)
    send(settings, records)
    own_broker.kill()
    folder = tmp_path / "tables"
    with process(environ, folder) as child:
        wait_for(lambda: lines(folder) >= 2)
        child.send_signal(end)
        assert child.wait(PATIENCE) == 0
    with process(environ, folder) as child:
        wait_for(lambda: lines(folder) >= 1)
        own_broker.start()
        if isinstance(own_broker, EmbeddedBroker):  # it has forgotten the topics
            assert child.wait(PATIENCE) == 1
            assert "there is no topic" in log_of(folder).read_text()
            return
        wait_for(complete(folder, records, settings))
        child.send_signal(end)
        assert child.wait(PATIENCE) == 0


@pytest.mark.parametrize("end", ENDS)
def test_a_sink_ends_while_its_broker_is_away(
    own_broker: brokers.LoopbackBroker, names: brokers.Names, tmp_path: Path, end: signal.Signals
) -> None:
    """With records in hand and nobody to commit to, it says so, ends, and the next run has them."""
    environ = {**variables(names, own_broker), "GAMEKEEPER_SINK_SECONDS": "3600"}
    settings = prepare({**environ, "GAMEKEEPER_PARTITIONS": "1"})
    records = traffic(settings, 40)
    folder = tmp_path / "tables"
    with process(environ, folder) as child:
        send(settings, records[:30])
        wait_for(lambda: len(tables(folder)["queries"]) > 0 and len(tables(folder)["scores"]) > 0)
        send(settings, records[30:])
        own_broker.kill()
        wait_for(lambda: lines(folder) >= 2)
        child.send_signal(end)
        assert child.wait(PATIENCE) == 0
    if isinstance(own_broker, EmbeddedBroker):
        return  # it has forgotten everything
    own_broker.start()
    with process({**environ, "GAMEKEEPER_SINK_SECONDS": "0.3"}, folder) as child:
        wait_for(partial(started, folder))
        wait_for(complete(folder, records, settings))


@pytest.mark.parametrize("call", ["subscribe", "poll", "committed", "beginning_offsets", "commit"])
def test_what_no_waiting_mends_ends_the_sink(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """What Kafka refuses is an error with what to do, whatever was asked."""

    def refuse(*_: Any, **__: Any) -> None:
        raise errors.GroupAuthorizationFailedError

    monkeypatch.setattr(KafkaConsumer, call, refuse)
    with pytest.raises(BrokerError, match=r"GroupAuthorizationFailedError.*access rules"):
        run_alone(settings, tmp_path)


@pytest.mark.parametrize("call", ["poll", "committed", "beginning_offsets", "commit"])
def test_what_passes_is_waited_for(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Whatever is asked while a broker is away is asked again."""
    away = [errors.KafkaConnectionError, errors.KafkaTimeoutError, errors.NotCoordinatorError]
    left = [kind() for kind in away for _ in range(2)]
    plain = getattr(KafkaConsumer, call)

    def fail(*arguments: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return plain(*arguments, **options)

    monkeypatch.setattr(KafkaConsumer, call, fail)
    records = traffic(settings, 20)
    send(settings, records)
    run_until_complete(settings, tmp_path, records)
    assert not left


@pytest.mark.parametrize("kind", brokers.local_kinds())
def test_commits_that_are_not_taken(
    kind: str, names: brokers.Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the broker answers all but commits, a sink is not ready, and then goes on."""
    monkeypatch.setattr(sink, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(member, "ASK_MS", 1000)
    with DeafProxy() as proxy, proxied_broker(kind, proxy) as broker:
        address = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{proxy.port}"}
        settings = prepare({**variables(names, broker), **address, "GAMEKEEPER_PARTITIONS": "1"})
        records = traffic(settings, 40)
        send(settings, records[:60])
        with running(settings, tmp_path) as run:
            wait_for(complete(tmp_path, records[:60], settings))
            wait_for(lambda: run.sink.obstacle() is None)
            proxy.deaf = frozenset({COMMIT})
            send(settings, records[60:])
            wait_for(lambda: "nothing heard from Kafka" in (run.sink.obstacle() or ""))
            proxy.deaf = frozenset()
            wait_for(complete(tmp_path, records, settings))
            wait_for(lambda: run.sink.obstacle() is None)
