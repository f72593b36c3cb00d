"""The sink, slow: where reading or writing takes longer than the group waits, nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import TopicPartition

from gamekeeper.schemas.event import encode_event
from gamekeeper.stream.kafka import Settings, consumer
from gamekeeper.stream.sink import Lane, QueryLane, Sink, member, opening, writing
from gamekeeper.stream.sink import lane as sink_lane
from gamekeeper.stream.sink.files import Drafts, group_of
from gamekeeper.stream.sink.member import Member
from support.sink_traffic import Sent, complete, expected, keys, query, send, tables, traffic
from support.sinks import process, running
from support.workers import PATIENCE, wait_for

pytestmark = pytest.mark.broker
# Run first, it makes a sink cut its batches elsewhere than others do.
OFTEN = """
from functools import partial
from gamekeeper.stream.sink import member
member.consumer = partial(member.consumer, max_poll_records=7)
"""


def queries(settings: Settings, records: list[Sent]) -> list[Sent]:
    """Choose the records of the topic of queries."""
    return [each for each in records if each.topic == settings.topics.queries]


def test_many_files_do_not_keep_a_sink_from_starting(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that reads files for longer than it may leave out polls goes on all the same."""
    records = queries(settings, traffic(settings, 240))
    half = len(records) // 2
    send(settings, records[:half])
    with monkeypatch.context() as patch:
        patch.setattr(member, "consumer", partial(consumer, max_poll_records=2))
        often = msgspec.structs.replace(settings, sink_records=1)
        with running(often, tmp_path, "queries"):
            wait_for(complete(tmp_path, records[:half], settings))
    slow = sink_lane._read
    monkeypatch.setattr(opening, "OPEN_SECONDS", 0.5)
    monkeypatch.setattr(sink_lane, "_read", lambda *all: time.sleep(0.2) or slow(*all))
    send(settings, records[half:])
    with running(settings, tmp_path, "queries"):
        wait_for(complete(tmp_path, records, settings))
    found = keys(tables(tmp_path))["queries"]
    assert set(found) == expected(records, settings)["queries"]


@pytest.mark.parametrize(("owner", "step"), [(Lane, "write"), (Drafts, "publish")])
def test_a_sink_that_stalls_while_it_writes_does_no_harm(
    settings: Settings,
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type[Any],
    step: str,
) -> None:
    """What a sink has begun to write when its partitions move does not get into the tables."""
    armed, stalled, going = threading.Event(), threading.Event(), threading.Event()
    plain = getattr(owner, step)

    def stall(*arguments: Any) -> Any:
        if armed.is_set() and not stalled.is_set():
            stalled.set()
            going.wait(2 * PATIENCE)
        return plain(*arguments)

    def idle(self: Member, milliseconds: int) -> Any:
        if stalled.is_set():  # the whole process has stalled: it does not poll either
            going.wait(2 * PATIENCE)
        return poll(self, milliseconds)

    poll = Member.poll
    monkeypatch.setattr(Member, "poll", idle)
    monkeypatch.setattr(owner, step, stall)
    records = traffic(settings, 120)
    half = len(records) // 2
    folder = tmp_path / "tables"
    send(settings, records[:half])
    lazy = msgspec.structs.replace(settings, sink_seconds=1.0, sink_records=10_000)
    with running(lazy, folder) as run:
        wait_for(complete(folder, records[:half], settings))
        armed.set()
        send(settings, records[half:])
        wait_for(stalled.is_set)
        # The embedded broker waits for ever for a leader that has gone while others join.
        wait_for(lambda: not run.sink._member._client._coordinator._generation.has_member_id())
        with process({**environ, "GAMEKEEPER_SINK_RECORDS": "1"}, folder, OFTEN):
            wait_for(complete(folder, records, settings))
            good = tables(folder)
            going.set()
            wait_for(lambda: not run.sink.in_hand)
            wait_for(lambda: bool(run.sink._lanes))
            assert tables(folder) == good
    assert tables(folder) == good
    assert not list(folder.rglob("*.tmp"))


def of_one_query(settings: Settings, days: Iterable[int]) -> list[Sent]:
    """Make events of one query by the days that they are of."""
    events = [query(3 * number, f"a-{number % 7}", 1, day) for number, day in enumerate(days)]
    return [Sent(settings.topics.queries, each.account, encode_event(each)) for each in events]


def test_writing_that_takes_long_goes_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink whose disk is slower than its group waits stays a member, and writes each row once."""
    slow = partial(lambda plain, *rest: time.sleep(0.8) or plain(*rest), sink_lane.write_rows)
    monkeypatch.setattr(sink_lane, "write_rows", slow)
    moved = []
    plain = Sink._close
    monkeypatch.setattr(Sink, "_close", lambda self, gone: moved.extend(gone) or plain(self, gone))
    # Six files for each partition in one batch: some 14 s for all, of which each commit gets none.
    records = of_one_query(settings, [number % 6 for number in range(120)])
    patient = msgspec.structs.replace(settings, sink_seconds=1.5, sink_records=10_000)
    assert settings.rebalance_timeout < 0.8 * 6
    with running(patient, tmp_path, "queries") as run:
        wait_for(lambda: len(run.sink._lanes) == 3)
        moved.clear()
        send(settings, records)
        wait_for(complete(tmp_path, records, settings))
        wait_for(lambda: run.sink.in_hand == 0)
        assert not moved
    assert set(keys(tables(tmp_path))["queries"]) == expected(records, settings)["queries"]


def test_events_of_many_days_are_written_in_parts(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What makes a file for each event is committed after a few files, and verdicts do not wait."""
    monkeypatch.setattr(writing, "FILES", 12)
    slow = partial(lambda plain, *rest: time.sleep(0.02) or plain(*rest), sink_lane.write_rows)
    monkeypatch.setattr(sink_lane, "write_rows", slow)
    drafted, parts = Drafts.publish, list[int]()

    def count(self: Drafts) -> bool:
        parts.append(len(self._paths))
        return drafted(self)

    monkeypatch.setattr(Drafts, "publish", count)
    records = of_one_query(settings, range(600))
    group = group_of(tmp_path, settings.app_id)
    verdicts = [each for each in traffic(settings, 5) if each.topic == settings.topics.verdicts]
    with running(settings, tmp_path, "queries", "verdicts") as run:
        send(settings, records)
        wait_for(lambda: committed(settings, group) > 0)
        send(settings, verdicts)
        wait_for(lambda: len(tables(tmp_path)["verdicts"]) == 5)
        assert run.sink.in_hand
        assert committed(settings, group) < 600
        wait_for(complete(tmp_path, records + verdicts, settings))
    assert max(parts) <= 12
    assert set(keys(tables(tmp_path))["queries"]) == expected(records, settings)["queries"]


def committed(settings: Settings, group: str) -> int:
    """Say how many offsets of the topic of queries a group has committed."""
    with consumer(settings, group) as client:
        places = [TopicPartition(settings.topics.queries, number) for number in range(3)]
        return sum(client.committed(place) or 0 for place in places)


def test_a_disk_that_hangs_holds_up_one_topic(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While queries cannot be written at all, verdicts are, and no partition moves."""
    hung, going = threading.Event(), threading.Event()
    plain = QueryLane.write

    def hang(*arguments: Any) -> Any:
        hung.set()
        going.wait(PATIENCE)
        return plain(*arguments)

    monkeypatch.setattr(QueryLane, "write", hang)
    records = [each for each in traffic(settings, 60) if each.topic != settings.topics.scores]
    verdicts = [each for each in records if each.topic == settings.topics.verdicts]
    with running(settings, tmp_path, "queries", "verdicts") as run:
        send(settings, queries(settings, records))
        wait_for(hung.is_set)
        begun = time.monotonic()
        send(settings, verdicts)
        wait_for(complete(tmp_path, verdicts, settings))
        lanes = dict(run.sink._lanes)
        wait_for(lambda: time.monotonic() - begun > 3 * settings.rebalance_timeout)
        assert run.sink._lanes == lanes
        going.set()
        wait_for(complete(tmp_path, records, settings))
