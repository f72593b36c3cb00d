"""The sink, slow: where reading or writing takes longer than the group waits, nothing is lost."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gamekeeper.stream.kafka import Settings, consumer
from gamekeeper.stream.sink import Lane, sink
from gamekeeper.stream.sink import lane as sink_lane
from gamekeeper.stream.sink.files import Drafts
from support.sink_traffic import Sent, complete, expected, keys, send, tables, traffic
from support.sinks import process, running
from support.workers import PATIENCE, wait_for

pytestmark = pytest.mark.broker
# Run first, it makes a sink cut its batches elsewhere than others do.
OFTEN = """
from functools import partial
from gamekeeper.stream.sink import sink
sink.consumer = partial(sink.consumer, max_poll_records=7)
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
        patch.setattr(sink, "consumer", partial(consumer, max_poll_records=2))
        often = msgspec.structs.replace(settings, sink_records=1)
        with running(often, tmp_path, "queries"):
            wait_for(complete(tmp_path, records[:half], settings))
    slow = sink_lane._read
    monkeypatch.setattr(sink, "OPEN_SECONDS", 0.5)
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
        wait_for(lambda: not run.sink._consumer._coordinator._generation.has_member_id())
        with process({**environ, "GAMEKEEPER_SINK_RECORDS": "1"}, folder, OFTEN):
            wait_for(complete(folder, records, settings))
            good = tables(folder)
            going.set()
            wait_for(lambda: not run.sink.in_hand)
            wait_for(lambda: bool(run.sink._lanes))
            assert tables(folder) == good
    assert tables(folder) == good
    assert not list(folder.rglob("*.tmp"))
