"""Three nodes of Kafka: what all parts do without one of them, and without all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gamekeeper.stream.kafka import apply
from support.brokers import kafka_home
from support.crashing import QUERIES, make_trace, prepared
from support.kafka_nodes import KafkaCluster
from support.listening import Listening, listening
from support.stage import Stage
from support.workers import all_applied, send, wait_for

pytestmark = pytest.mark.broker
TRACE = make_trace(QUERIES)
HALF = len(TRACE) // 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """Three running nodes."""
    home = kafka_home()
    if home is None:
        pytest.skip("the embedded broker is one node")
    with KafkaCluster(home) as running:
        yield running


@pytest.fixture
def stage(cluster: KafkaCluster, tmp_path: Path) -> Iterator[Stage]:
    """A worker and a sink that have begun to work, on topics of three copies."""
    with prepared(cluster.address, tmp_path, GAMEKEEPER_REPLICATION="3") as running:
        send(running.settings, TRACE[:HALF])
        wait_for(lambda: running.workers[0].metric("gamekeeper_queries_total") > 0)
        yield running


@pytest.fixture
def both(stage: Stage, tmp_path: Path) -> Iterator[Listening]:
    """A tap and a recording of a topic of their own, which they have begun to write and read."""
    topics = msgspec.structs.replace(stage.settings.topics, queries=f"tapped-{stage.topic}")
    settings = msgspec.structs.replace(stage.settings, topics=topics)
    apply(settings)
    with listening(settings, tmp_path / "tapped.parquet") as running:
        yield running
    assert running.labels() == list(range(running.sent))


def whole(stage: Stage) -> None:
    """See that all verdicts are there, and that no process had to be started again."""
    found = stage.compare()
    assert found.good, found
    assert found.topic.expected > 10
    assert not found.ended


def test_a_node_that_dies_is_done_without(
    cluster: KafkaCluster, stage: Stage, both: Listening
) -> None:
    """All go on with two nodes, and with three again; no query and no verdict is lost."""
    cluster.nodes[0].kill()
    both.send(10)
    send(stage.settings, TRACE[HALF:])
    wait_for(lambda: both.has(20))
    wait_for(lambda: all_applied(stage.settings))
    wait_for(stage.calm)
    cluster.nodes[0].start()
    wait_for(cluster.whole)
    whole(stage)


def test_nodes_that_die_at_once_are_waited_for(
    cluster: KafkaCluster, stage: Stage, both: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    """Without any node all live, and say that they wait; then they go on, and nothing is lost."""
    worker = stage.workers[0]
    cluster.kill()
    both.send(10)
    wait_for(lambda: not worker.ready())
    assert worker.get("/livez")[0] == 200
    wait_for(lambda: both.heard("waiting: ") and "no broker takes events" in caplog.text)
    cluster.start()
    send(stage.settings, TRACE[HALF:])
    wait_for(lambda: both.has(20))
    wait_for(stage.calm)
    whole(stage)
