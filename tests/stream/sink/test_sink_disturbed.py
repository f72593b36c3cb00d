"""The sink, disturbed: nothing lost or doubled, whatever is killed or suspended when."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import msgspec
import pytest

from gamekeeper.schemas.errors import BrokerError, TraceError
from gamekeeper.stream.kafka import EmbeddedBroker, Settings, apply, consumer
from gamekeeper.stream.sink import Sink, member, sink
from support import brokers
from support.sink_traffic import Sent, complete, expected, keys, rejected, send, tables, traffic
from support.sinks import log_of, process, run_until_complete, running, started, variables
from support.workers import PATIENCE, prepare, wait_for

pytestmark = pytest.mark.broker
PLACES = 9
"""Three topics of three partitions."""
# Run first, it makes a sink tell what it has in hand, and write when that is half of all, or when a
# file is there.
LAZY = """
from pathlib import Path
from gamekeeper.stream.sink import Sink
take = Sink._take
def telling(self, lane, records):
    take(self, lane, records)
    print("in hand:", self.in_hand, flush=True)
Sink._take = telling
Sink._is_time = lambda self, _: self.in_hand >= {half} or Path({go!r}).exists()
"""
# Run first, it makes a sink write its memories often, in small batches however late it reads, that
# are cut where they are of more than one day.
FORGETFUL = """
from functools import partial
from gamekeeper.stream.sink import lane, member, writing
writing.FILES = 1
lane.FILES_BEHIND = 2
member.consumer = partial(member.consumer, max_poll_records=7)
"""


def ids(folder: Path) -> set[str]:
    """Name the verdicts in the folder."""
    return {row["id"] for row in tables(folder)["verdicts"]}


def sent_ids(records: list[Sent]) -> set[str]:
    """Name the verdicts among records that can be read."""
    return {json.loads(each.value)["id"] for each in records if each.value not in (None, b"{")}


def more(folder: Path, before: set[Path]) -> bool:
    """Say whether there are files that were not there before."""
    return not set(folder.rglob("*.parquet")) <= before


def test_survives_kills(settings: Settings, environ: dict[str, str], tmp_path: Path) -> None:
    """Killed again and again while records come, with memories written at almost every batch, the
    tables are those of an undisturbed run.
    """
    chance = random.Random(7)
    records = traffic(settings, 240)
    quarter = len(records) // 4
    folder = tmp_path / "killed"
    for number in range(3):
        before = set(folder.rglob("*.parquet"))
        part = records[number * quarter : (number + 1) * quarter]
        flow = threading.Thread(target=send, args=(settings, part, 0.012))
        with process(environ, folder, FORGETFUL) as child:
            flow.start()
            try:
                wait_for(partial(more, folder, before))
                time.sleep(chance.uniform(0.0, 0.6))
                child.send_signal(signal.SIGKILL)
            finally:
                flow.join()
    send(settings, records[3 * quarter :])
    with process(environ, folder, FORGETFUL) as child:
        wait_for(partial(started, folder))
        wait_for(complete(folder, records, settings))
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE) == 0
    calm = tmp_path / "calm"
    run_until_complete(settings, calm, records)
    assert tables(folder) == tables(calm)
    assert rejected(folder) == rejected(calm)
    assert not list(folder.rglob("*.tmp"))
    assert len(list((folder / "memory").iterdir())) == 9


def test_two_sinks_share_the_work(
    settings: Settings, environ: dict[str, str], tmp_path: Path
) -> None:
    """A second sink takes partitions over and gives them back; nothing is lost or doubled."""
    records = traffic(settings, 150)
    third = len(records) // 3
    flow = threading.Thread(target=send, args=(settings, records[2 * third :], 0.012))
    folder = tmp_path / "tables"
    with running(settings, folder) as run:
        send(settings, records[:third])
        wait_for(lambda: len(run.sink._owned) == PLACES)
        with process(environ, folder) as second:
            wait_for(lambda: 0 < len(run.sink._owned) < PLACES)
            send(settings, records[third : 2 * third])
            wait_for(lambda: '"wrote"' in log_of(folder).read_text())
            flow.start()
            second.send_signal(signal.SIGINT)
            assert second.wait(PATIENCE) == 0
        flow.join()
        wait_for(complete(folder, records, settings))
    for name, rows in expected(records, settings).items():
        assert set(keys(tables(folder))[name]) == rows


def test_a_busy_sink_notices_that_topics_have_grown(
    settings: Settings, broker: brokers.Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink whose group has moved while it was busy with something else goes on all the same."""
    larger = msgspec.structs.replace(settings, partitions=9)
    if isinstance(broker, EmbeddedBroker):
        with pytest.raises(BrokerError, match="this broker cannot do that"):
            apply(larger)
        return
    monkeypatch.setattr(member, "consumer", partial(consumer, metadata_max_age_ms=300))
    monkeypatch.setattr(sink, "POLL_MS", 10)
    advance = Sink._advance
    monkeypatch.setattr(Sink, "_advance", lambda self: time.sleep(0.3) or advance(self))
    early, late = (
        [each for each in traffic(settings, count) if each.topic == settings.topics.verdicts]
        for count in (40, 80)
    )
    with running(settings, tmp_path, "verdicts") as run:
        send(settings, early)
        wait_for(lambda: ids(tmp_path) >= sent_ids(early))
        apply(larger)
        wait_for(lambda: len(run.sink._owned) == larger.partitions)
        send(settings, late)
        wait_for(lambda: ids(tmp_path) >= sent_ids(late))


def test_a_suspended_sink_does_no_harm(
    settings: Settings, environ: dict[str, str], tmp_path: Path
) -> None:
    """A sink that wakes up after its partitions have moved leaves the new owner's files alone."""
    records = traffic(settings, 80)
    half = len(records) // 2 + 1
    folder = tmp_path / "tables"
    go = tmp_path / "go"
    lazy = LAZY.format(half=half, go=str(go))
    send(settings, records[:half])
    with process(environ, folder, lazy) as sleeper:
        wait_for(lambda: any(folder.rglob("*.parquet")))
        send(settings, records[half:])
        wait_for(lambda: f"in hand: {len(records) - half}\n" in log_of(folder).read_text())
        sleeper.send_signal(signal.SIGSTOP)
        with running(settings, folder) as run:
            wait_for(complete(folder, records, settings))
            good = tables(folder)
            go.touch()
            sleeper.send_signal(signal.SIGCONT)
            # It has joined again, and has done by then what it does with records in its hand.
            wait_for(lambda: 0 < len(run.sink._lanes) < PLACES)
            assert tables(folder) == good
        sleeper.send_signal(signal.SIGTERM)
        assert sleeper.wait(PATIENCE) == 0
    assert tables(folder) == good


def test_survives_a_broker_that_is_killed(
    own_broker: brokers.LoopbackBroker, names: brokers.Names, tmp_path: Path
) -> None:
    """A sink goes on when its broker is back, unless the broker has forgotten everything."""
    # As many as the embedded broker gives a topic that the sink asks for before it is made again.
    settings = prepare({**variables(names, own_broker), "GAMEKEEPER_PARTITIONS": "4"})
    records = traffic(settings, 60)
    half = len(records) // 2
    send(settings, records[:half])
    forgetful = isinstance(own_broker, EmbeddedBroker)
    ending = pytest.raises(TraceError, match="another folder") if forgetful else nullcontext()
    with ending, running(settings, tmp_path) as run:
        wait_for(complete(tmp_path, records[:half], settings))
        own_broker.kill()
        own_broker.start()
        if forgetful:
            apply(settings)
            wait_for(lambda: not run.thread.is_alive())
        else:
            send(settings, records[half:])
            wait_for(complete(tmp_path, records, settings))
