"""State that builds have left is read exactly: each form of it, as it was recorded once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from gamekeeper.detectors.engine import Arrival, Engine, Source
from gamekeeper.schemas.event import decode_event
from gamekeeper.schemas.verdict import decode_verdict
from gamekeeper.stream.kafka import Settings, consumer, producer
from gamekeeper.stream.profile_files import load_profile
from gamekeeper.stream.worker.changelog import Stored, Tenure, changes, stored
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.store import Store
from support import recorded
from support.brokers import Broker, local_kinds
from support.online import expected, found
from support.workers import Worker, all_applied, prepare, send, wait_for

NAMES = sorted(each.name for each in recorded.FOLDER.iterdir() if each.is_dir())


def fill(settings: Settings, made: recorded.Recording) -> None:
    """Bring a cluster to what it was when the recorded worker had ended."""
    with producer(settings) as client:
        for topic, records in (
            (settings.topics.queries, made.queries),
            (settings.changelog, made.changelog),
        ):
            for partition, key, value in records:
                client.send(topic, key=key, value=value, partition=partition)
        client.flush()
    with consumer(settings, group=settings.app_id) as client:
        client.commit(
            {
                TopicPartition(settings.topics.queries, partition): OffsetAndMetadata(at, "", -1)
                for partition, at in made.committed.items()
            }
        )


@pytest.mark.parametrize("broker", local_kinds(), indirect=True)
@pytest.mark.parametrize("name", NAMES)
def test_a_worker_goes_on_from_recorded_state(name: str, broker: Broker, tmp_path: Path) -> None:
    """Changelog, local store and offsets of an earlier build: each later verdict, and no other."""
    made = recorded.load(name)
    environ = recorded.environ(name, broker.address, tmp_path)
    settings = prepare(environ)
    fill(settings, made)
    recorded.unpack(name, tmp_path)
    with Worker(environ) as worker:
        send(settings, made.later)
        wait_for(lambda: worker.ready() and all_applied(settings))
        assert not worker.metric("gamekeeper_state_lost_total")
    truth = expected(settings)
    later = {
        uid: value
        for uid, value in truth.items()
        if (cause := decode_verdict(value)).offset >= made.committed[cause.partition]
    }
    assert 0 < len(later) < len(truth)
    assert found(settings) == later


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_changelog_is_read_exactly(name: str, tmp_path: Path) -> None:
    """Each account goes on with the statistics of one that was never stored."""
    made = recorded.load(name)
    recorded.environ(name, "", tmp_path)
    profile = load_profile(tmp_path / "profile.json")
    rows = restored(made)
    calm, again = Engine(profile), Engine(profile)
    store = Store(Engines(again), 100, 2**30, {each: Tenure(2**40, 0) for each in made.committed})
    homes = {key: partition for partition, key, _ in made.queries}
    for offset, (partition, _, value) in enumerate(made.queries):
        calm.process([arrival(name, partition, offset, value)])
    for offset, (key, value) in enumerate(made.later):
        coming = arrival(name, homes[key], 10_000 + offset, value)
        where = coming.source.partition
        account = coming.event.account, coming.event.model
        entry = store.open(account, coming.source, lambda row, where=where: rows.get((where, row)))
        assert not entry.account.lost
        [one], [two] = calm.process([coming]), again.process([coming])
        assert one.first == two.first > 0
        assert str(one.statistics) == str(two.statistics)


def restored(made: recorded.Recording) -> dict[tuple[int, bytes], Stored | None]:
    """Restore the rows of all partitions."""
    rows: dict[tuple[int, bytes], bytes] = {}
    for partition in made.committed:
        own = [(key, value) for where, key, value in made.changelog if where == partition]
        for offset, (key, value) in enumerate(own):
            record = SimpleNamespace(
                partition=partition, offset=offset, key=key, value=value, tp=None
            )
            record.message = record
            for change in changes([record], lambda *place: rows.get(place)):
                if change.value is None:
                    rows.pop((partition, change.key), None)
                else:
                    rows[partition, change.key] = change.value
    return {place: stored(value) for place, value in rows.items()}


def arrival(name: str, partition: int, offset: int, value: bytes | None) -> Arrival:
    """Decode an event from a place."""
    return Arrival(decode_event(value or b""), Source(f"queries-{name}", partition, offset))
