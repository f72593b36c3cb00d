"""The tap and a recording while broker, network and topic are disturbed: nothing goes unsaid."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gamekeeper.stream.kafka import (
    EmbeddedBroker,
    LoopbackBroker,
    Settings,
    apply,
)
from support import brokers
from support.brokers import Names
from support.listening import Listening, listening
from support.processes import spawned
from support.proxy import DeafProxy, proxied_broker
from support.traces import events, send, sorted_rows, write_trace
from support.workers import delete, prepare, wait_for

pytestmark = pytest.mark.broker
PRODUCE = 0
"""Kafka's key of the requests that write records."""
ANEW = "was made anew; reading it from its beginning"
# Run first, it makes a recording freeze its broker when it has six events, and look at it often.
FREEZING = """
import importlib, os, signal
from gamekeeper.stream.kafka import lives, reader
reader.LOOK_SECONDS, reader._ASK_MS, lives._ASK_MS = 0.3, 1000, 1000
recording = importlib.import_module("gamekeeper.replay.traces.record")._Recording
take = recording._take
def freezing(self, record):
    take(self, record)
    if self._recorded.events == 6:
        os.kill({pid}, signal.SIGSTOP)
recording._take = freezing
"""


@pytest.fixture
def environ(broker: brokers.Broker, names: Names) -> dict[str, str]:
    """Variables of topics with as many partitions as the embedded broker gives those it makes."""
    address = {"KAFKA_BOOTSTRAP_SERVERS": broker.address}
    return {**names.environ, **address, "GAMEKEEPER_PARTITIONS": "4"}


@pytest.fixture(params=brokers.local_kinds())
def behind_proxy(request: pytest.FixtureRequest) -> Iterator[tuple[DeafProxy, LoopbackBroker]]:
    """A network that can be cut, and the broker behind it."""
    with DeafProxy() as proxy, proxied_broker(request.param, proxy) as broker:
        yield proxy, broker


def signalled(broker: LoopbackBroker, sign: signal.Signals) -> None:
    """Send a signal to a broker's process."""
    assert broker.pid is not None
    os.kill(broker.pid, sign)


def waits(both: Listening, log: pytest.LogCaptureFixture, words: str = "waiting: ") -> None:
    """Have the tap send, and wait until both have said that nothing comes through."""
    before = len(both.said)
    log.clear()
    both.send(10)
    wait_for(lambda: any(words in line for line in both.said[before:]))
    wait_for(lambda: "no broker takes events (1 times): 10 wait" in log.text)


def test_a_broker_that_is_away(
    behind_proxy: tuple[DeafProxy, LoopbackBroker],
    names: Names,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Cut off, frozen or killed: both wait, say so, and go on; Kafka gets all, and each once.

    Where only writes are not taken, the recording has nothing to wait for.

    The embedded broker comes back from a kill without its topics, and the new ones are read.
    """
    proxy, broker = behind_proxy
    address = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{proxy.port}", "GAMEKEEPER_PARTITIONS": "4"}
    settings = prepare({**names.environ, **address})
    with listening(settings, tmp_path / "a.parquet") as both:
        proxy.deaf = frozenset({PRODUCE})
        both.send(10)
        wait_for(lambda: "no broker takes events (1 times): 10 wait" in caplog.text)
        assert both.said == []
        proxy.deaf = frozenset()
        wait_for(lambda: both.has(20))
        proxy.cut()
        waits(both, caplog)
        proxy.mend()
        wait_for(lambda: both.has(30))
        signalled(broker, signal.SIGSTOP)
        waits(both, caplog)
        signalled(broker, signal.SIGCONT)
        wait_for(lambda: both.has(40))
        broker.kill()
        waits(both, caplog)
        broker.start()
        if isinstance(broker, EmbeddedBroker):
            apply(settings)
            wait_for(lambda: both.heard(ANEW))
        assert both.tap.flush(60)
        delivered = both.tap.stats().delivered
        assert delivered + both.tap.stats().failed == 50
        wait_for(lambda: both.has(delivered))
    assert both.labels() == list(range(delivered))
    assert delivered == 50 or isinstance(broker, EmbeddedBroker)


def test_a_recording_ends_without_its_broker(
    own_broker: LoopbackBroker, names: Names, tmp_path: Path
) -> None:
    """That nobody answers is said on stderr and is no idleness; Ctrl-C leaves a whole trace."""
    environ = {**names.environ, "KAFKA_BOOTSTRAP_SERVERS": own_broker.address}
    settings = prepare({**environ, "GAMEKEEPER_PARTITIONS": "1"})
    made = events(accounts=2, each=3)
    send(settings, settings.topics.queries, *made)
    out = tmp_path / "a.parquet"
    freezing = FREEZING.format(pid=own_broker.pid)
    arguments = ["record", "--out", out, "--until-idle", "1"]
    with spawned(*arguments, environ=environ, before=freezing) as process:
        assert process.stderr is not None
        for _ in range(2):
            while "waiting: " not in process.stderr.readline():
                assert process.poll() is None
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, stderr = process.communicate(timeout=180)
    assert process.returncode == 0, stderr
    assert time.monotonic() - begun < 30
    assert sorted_rows(out).equals(sorted_rows(write_trace(tmp_path / "b.parquet", made)))


def test_a_topic_that_is_deleted_and_made_anew(
    settings: Settings, broker: brokers.Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both wait for it, and say so; the new one is read from its beginning, however long it is.

    The embedded broker makes a topic again for whoever asks for it, and may lose what is sent then.
    """
    forgetful = isinstance(broker, EmbeddedBroker)
    with listening(settings, tmp_path / "a.parquet") as both:
        delete(settings, settings.topics.queries)
        if not forgetful:
            waits(both, caplog, "was deleted; make it with `gamekeeper topics apply`")
        apply(settings)
        wait_for(lambda: both.heard(ANEW))
        assert both.tap.flush(60)
        before = 10 if forgetful else 20
        wait_for(lambda: both.has(before))
        both.said.clear()
        delete(settings, settings.topics.queries)
        apply(settings)
        send(settings, settings.topics.queries, *events(accounts=3, each=40))
        wait_for(lambda: both.heard(ANEW))
        wait_for(lambda: both.events >= before + 3 * 40)
    assert both.events == before + 3 * 40
    counts = both.tap.stats()
    assert counts.delivered + counts.failed == counts.recorded


@pytest.mark.parametrize(
    "broker", [each for each in brokers.kinds() if each != "embedded"], indirect=True
)
def test_partitions_that_are_added_are_recorded(
    settings: Settings, broker: brokers.Broker, tmp_path: Path
) -> None:
    """What comes to the new partitions is recorded, too; the tap goes on.

    The embedded broker does not let a topic grow.
    """
    made = events(accounts=9, each=1)
    with listening(settings, tmp_path / "a.parquet") as both:
        apply(msgspec.structs.replace(settings, partitions=9))
        send(settings, settings.topics.queries, *made)
        both.send(10)
        wait_for(lambda: both.events >= 20 + len(made))
        assert both.heard("has grown to 9 partitions; reading all of them")
        assert both.tap.flush(60)
    assert both.events == both.tap.stats().delivered + len(made)
