"""The queries topic, changed while the worker runs: grown, or deleted."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gamekeeper.stream.kafka import Seen, Settings, Watch, admin
from gamekeeper.stream.worker import cluster
from gamekeeper.stream.worker.cluster import ANEW, CUT, GROWN, REMADE, Cluster
from support import ports
from support.brokers import Broker, KafkaBroker, Names, kafka_home, kinds
from support.crashing import make_trace
from support.workers import PARTITIONS, Worker, environ_for, prepare, send, wait_for

pytestmark = pytest.mark.broker

CREATIVE = ("auto.create.topics.enable=false", "auto.create.topics.enable=true")


class CreativeKafka(KafkaBroker):
    """A node that makes the topics that it is asked for, as is Kafka's default."""

    def _format(self, folder: Path) -> None:
        super()._format(folder)
        config = folder / "server.properties"
        config.write_text(config.read_text().replace(*CREATIVE))


@pytest.fixture
def creative() -> Iterator[KafkaBroker]:
    """A running node that makes topics."""
    home = kafka_home()
    if home is None:
        pytest.skip("the embedded broker makes every topic that it is asked for")
    with CreativeKafka(home, ports.reserve()) as broker:
        yield broker


def present(settings: Settings) -> bool:
    """Say whether the queries topic is there; asking does not make it."""
    with admin(settings) as client:
        return settings.topics.queries in client.list_topics()


@pytest.mark.parametrize("milliseconds", ["300000", "200"], ids=["looked at", "told of"])
@pytest.mark.parametrize("broker", [each for each in kinds() if each != "embedded"], indirect=True)
def test_a_topic_that_grows(
    broker: Broker, names: Names, tmp_path: Path, milliseconds: str
) -> None:
    """The worker says what to do and ends with a status of its own; nothing is lost.

    Be it the worker's own look that finds it out, or aiokafka's, after so many milliseconds, which
    asks for the new partitions at once. The embedded broker does not let a topic grow.
    """
    environ = environ_for(broker.address, names.environ, tmp_path)
    environ["CONSUMER_METADATA_MAX_AGE_MS"] = milliseconds  # Faust's own variable
    settings = prepare(environ)
    with Worker(environ) as worker:
        send(settings, make_trace(30))
        wait_for(lambda: worker.metric("gamekeeper_queries_total") == 30)
        with admin(settings) as client:
            client.create_partitions({settings.topics.queries: PARTITIONS + 2})
        send(settings, make_trace(30, seed=1), partition=PARTITIONS + 1)
        wait_for(lambda: not worker.alive(), 60)
        assert worker.terminate() == GROWN
        for advice in (f"GAMEKEEPER_PARTITIONS={PARTITIONS + 2}", "gamekeeper topics apply"):
            assert advice in worker.logged()
    del environ["CONSUMER_METADATA_MAX_AGE_MS"]
    environ["GAMEKEEPER_PARTITIONS"] = str(PARTITIONS + 2)
    prepare(environ)
    with Worker(environ) as worker:
        wait_for(worker.ready)
        wait_for(lambda: worker.metric("gamekeeper_queries_total") == 30)
        wait_for(lambda: worker.metric("gamekeeper_consumer_lag") == 0)
        assert worker.metric("gamekeeper_events_total", outcome="skipped") == 0
        assert worker.terminate() == 0


def test_a_topic_that_is_deleted_stays_so(
    creative: KafkaBroker, names: Names, tmp_path: Path
) -> None:
    """The worker does not make it again by asking for it; it is not ready and says why."""
    environ = environ_for(creative.address, names.environ, tmp_path)
    settings = prepare(environ)
    with Worker(environ) as worker:
        wait_for(worker.ready)
        with admin(settings) as client:
            client.delete_topics([settings.topics.queries])
        wait_for(lambda: "is missing" in worker.get("/readyz")[1], 60)
        assert worker.get("/livez")[0] == 200
        assert worker.terminate() == 0
    assert not present(settings)


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([Seen(4, "a"), Seen(4, "a")], CUT),
        ([Seen(4), Seen(4)], CUT),
        ([Seen(4, "a"), Seen(4, "b")], ANEW),
        ([Seen(4, "a"), Seen(0), Seen(4, "b")], ANEW),
    ],
    ids=["cut off", "cut off, no ids", "made anew", "away in between"],
)
def test_a_log_that_is_too_short_is_looked_at_again(
    looks: list[Seen], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads finds it out before the next look is due: that one says what has happened."""
    settings = Settings(partitions=4)
    seen = iter(looks)
    ended = asyncio.Event()

    async def run() -> int:
        watching = Cluster(settings, loop=asyncio.get_running_loop())
        await watching.start()
        while watching._seen is None:
            await asyncio.sleep(0)
        watching.shorter(2, 143)
        await asyncio.wait_for(ended.wait(), 60)
        await watching.stop()
        return watching.status

    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(Watch, "look", lambda self: {settings.topics.queries: next(seen)})
    monkeypatch.setattr(signal, "raise_signal", lambda number: ended.set())
    with capture_logs() as logs:
        assert asyncio.run(run()) == REMADE
    assert [each["event"] for each in logs if each["log_level"] == "critical"] == [told]
    assert next(seen, None) is None
