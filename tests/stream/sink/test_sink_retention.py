"""The sink where retention has passed it: it goes on, and the table `gaps` says what is lost."""

from __future__ import annotations

import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from kafka import OffsetAndMetadata, TopicPartition

from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.event import encode_event
from gamekeeper.schemas.tables import GAPS
from gamekeeper.stream.kafka import EmbeddedBroker, Settings, consumer
from gamekeeper.stream.sink import Sink, member
from gamekeeper.stream.sink.files import group_of
from support import brokers
from support.retention import expire, late_beginning
from support.sink_traffic import Sent, query, send, tables
from support.sinks import log_of, process, run_alone, running, variables
from support.workers import PATIENCE, prepare, wait_for

pytestmark = pytest.mark.broker
# Run first, it makes a sink kill itself before or after the row of a gap is put in its place.
DEADLY = """
import os, signal
from gamekeeper.stream.sink.files import Drafts
publish = Drafts.publish
def deadly(self):
    gap = any(path.parent.name == "gaps" for path in self._paths)
    if gap and {after}:
        publish(self)
    if gap:
        os.kill(os.getpid(), signal.SIGKILL)
    return publish(self)
Drafts.publish = deadly
"""


@pytest.fixture
def environ(broker: brokers.Broker, names: brokers.Names) -> dict[str, str]:
    """Variables of a sink whose topics have one partition."""
    return {**variables(names, broker), "GAMEKEEPER_PARTITIONS": "1"}


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """The same as settings, with the topics made."""
    return prepare(environ)


def events(settings: Settings, first: int, end: int) -> list[Sent]:
    """Make one-query events of one account, numbered."""
    return [
        Sent(settings.topics.queries, "account", encode_event(query(number, "account", rows=1)))
        for number in range(first, end)
    ]


def numbers(folder: Path) -> list[int]:
    """Name the events in the folder's queries, in the order of `query`, which counts from 0."""
    rows = tables(folder)["queries"]
    assert [row["query"] for row in rows] == list(range(len(rows)))
    return [int(row["event"].removeprefix("event-")) for row in rows]


def gaps(folder: Path) -> list[dict[str, Any]]:
    """Read the table of what is lost."""
    parts = [pq.read_table(path) for path in sorted((folder / "gaps").glob("*.parquet"))]
    assert all(part.schema.equals(GAPS) for part in parts)
    rows = [row for part in parts for row in part.to_pylist()]
    return [{name: value for name, value in row.items() if name != "seen"} for row in rows]


def gap(settings: Settings, first: int, following: int) -> dict[str, Any]:
    """Say a row of that table, without its time."""
    place = {"topic": settings.topics.queries, "partition": 0}
    return {**place, "first": first, "next": following, "lost": following - first}


def stopped_at_12(settings: Settings, folder: Path) -> None:
    """Have 30 events on the topic, of which a sink has written the first 12."""
    send(settings, events(settings, 0, 12))
    with running(settings, folder, "queries"):
        wait_for(lambda: len(tables(folder)["queries"]) == 12)
    send(settings, events(settings, 12, 30))


def test_goes_on_where_retention_has_passed_it(
    settings: Settings,
    broker: brokers.Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sink that was away for longer than records are kept goes on with those that are left."""
    stopped_at_12(settings, tmp_path)
    if isinstance(broker, EmbeddedBroker):
        monkeypatch.setattr(member, "consumer", late_beginning(20))
    else:
        expire(settings, settings.topics.queries, 0, 20)
    left = [*range(12), *range(20, 30)]
    for _ in range(2):  # what is lost is told once
        with running(settings, tmp_path, "queries"):
            wait_for(lambda: numbers(tmp_path) == left)
        assert gaps(tmp_path) == [gap(settings, 12, 20)]
    assert not list(tmp_path.rglob("*.tmp"))


def test_goes_on_where_retention_passes_it_while_it_runs(
    settings: Settings,
    broker: brokers.Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sink that reads slower than records expire writes what it has, and goes on after it."""
    if isinstance(broker, EmbeddedBroker):
        return  # nothing expires there, and no fetch is out of range
    monkeypatch.setattr(member, "consumer", partial(consumer, max_partition_fetch_bytes=1))
    read, slow, going = Sink._read, threading.Event(), threading.Event()

    def hold(self: Sink) -> None:
        if any(lane.next == 12 for lane in self._lanes.values()):
            slow.set()
            going.wait(PATIENCE)
        read(self)

    monkeypatch.setattr(Sink, "_read", hold)
    settings = msgspec.structs.replace(settings, session_timeout=60.0, rebalance_timeout=200.0)
    with running(settings, tmp_path, "queries"):
        send(settings, events(settings, 0, 12))
        wait_for(slow.is_set)
        send(settings, events(settings, 12, 30), pause=0.02)  # what is fetched ahead is a part
        expire(settings, settings.topics.queries, 0, 20)
        going.set()
        wait_for(lambda: numbers(tmp_path)[-1:] == [29])
    [lost] = gaps(tmp_path)
    assert lost == gap(settings, lost["first"], 20)
    assert 12 <= lost["first"] < 20
    assert numbers(tmp_path) == [*range(lost["first"]), *range(20, 30)]


@pytest.mark.parametrize("after", [False, True])
def test_a_gap_is_told_once_whatever_is_killed(
    settings: Settings,
    environ: dict[str, str],
    broker: brokers.Broker,
    tmp_path: Path,
    after: bool,
) -> None:
    """Killed before or after the row of a gap is in its place, there is one row in the end.

    What has expired meanwhile is part of it.
    """
    if isinstance(broker, EmbeddedBroker):
        return  # nothing expires there; how its row is written does not depend on the broker
    folder = tmp_path / "tables"
    stopped_at_12(settings, folder)
    expire(settings, settings.topics.queries, 0, 20)
    with process(environ, folder, DEADLY.format(after=after)) as child:
        assert child.wait(PATIENCE) == -signal.SIGKILL
    assert len(gaps(folder)) == after
    expire(settings, settings.topics.queries, 0, 25)
    with process(environ, folder) as child:
        wait_for(lambda: numbers(folder) == [*range(12), *range(25, 30)])
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE) == 0
    assert gaps(folder) == [gap(settings, 12, 25)]
    assert "records have expired before they were written" in log_of(folder).read_text()


def test_a_topic_that_ends_before_what_is_committed_is_another(
    settings: Settings, broker: brokers.Broker, tmp_path: Path
) -> None:
    """Offsets beyond a topic's end are of another topic, and no gap."""
    if isinstance(broker, EmbeddedBroker):
        return  # it has nothing to read there, and does not say that there is no such offset
    stopped_at_12(settings, tmp_path)
    place = TopicPartition(settings.topics.queries, 0)
    with consumer(settings, group_of(tmp_path, settings.app_id)) as client:
        client.assign([place])
        client.commit({place: OffsetAndMetadata(99, "", -1)})
    with pytest.raises(TraceError, match="another folder"):
        run_alone(settings, tmp_path)
    assert gaps(tmp_path) == []
