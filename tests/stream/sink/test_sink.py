"""The sink, undisturbed: each record's rows once, where they belong, or why not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from gamekeeper.schemas.errors import BrokerError, TraceError
from gamekeeper.schemas.verdict import encode_verdict
from gamekeeper.stream.kafka import EmbeddedBroker, Settings, apply
from support.sink_traffic import (
    Sent,
    complete,
    expected,
    keys,
    rejected,
    send,
    tables,
    traffic,
    verdict,
)
from support.sinks import run_alone, run_until_complete, running
from support.workers import wait_for

pytestmark = pytest.mark.broker


def test_writes_each_record_once(settings: Settings, tmp_path: Path) -> None:
    """All tables hold what was sent, once; broken records are set aside with place and reason."""
    records = traffic(settings, 60)
    send(settings, records)
    run_until_complete(settings, tmp_path, records)
    found = keys(tables(tmp_path))
    for name, rows in expected(records, settings).items():
        assert len(found[name]) == len(rows)
        assert set(found[name]) == rows
    broken = rejected(tmp_path)
    assert len(broken) == 3 * 6
    assert {line["topic"] for line in broken} == {
        settings.topics.verdicts,
        settings.topics.queries,
        settings.topics.scores,
    }
    assert all(set(line) == {"topic", "partition", "offset", "path", "reason"} for line in broken)
    assert any("key events by their account" in line["reason"] for line in broken)


def test_files_are_named_by_event_date_and_place(settings: Settings, tmp_path: Path) -> None:
    """A row lies under its event's date, in a file named by topic, partition and first offset."""
    records = traffic(settings, 30)
    send(settings, records)
    with running(settings, tmp_path, "verdicts"):
        wait_for(lambda: len(tables(tmp_path)["verdicts"]) == 30)
    assert {path.name for path in tmp_path.iterdir()} == {"verdicts", "rejected", "sink.json"}
    for path in (tmp_path / "verdicts").glob("date=*/*"):
        rows = pq.read_table(path, partitioning=None).to_pylist()
        assert {f"date={row['last_time']:%Y-%m-%d}" for row in rows} == {path.parent.name}
        partition, first = rows[0]["_partition"], int(path.stem[-20:])
        assert path.name == f"{settings.topics.verdicts}-{partition}-{first:020d}.parquet"
        assert all(row["_partition"] == partition and row["_offset"] >= first for row in rows)
    days = {path.name for path in (tmp_path / "verdicts").iterdir()}
    assert days == {"date=2023-11-15", "date=2023-11-16", "date=2023-11-17"}


def test_the_first_file_of_a_partition_is_not_waited_for(
    settings: Settings, tmp_path: Path
) -> None:
    """Who tries it out sees the first verdict at once; those that follow share a file."""
    patient = msgspec.structs.replace(settings, sink_seconds=3600.0, sink_records=10**6)
    sent = [
        Sent(settings.topics.verdicts, "thief", encode_verdict(verdict(number, "thief")))
        for number in range(3)
    ]
    with running(patient, tmp_path, "verdicts") as run:
        send(settings, sent[:1])
        wait_for(lambda: len(tables(tmp_path)["verdicts"]) == 1)
        [first] = tmp_path.rglob("*.parquet")
        wait_for(lambda: run.sink.in_hand == 0)
        send(settings, sent[1:])
        wait_for(lambda: run.sink.in_hand == 2)
        assert list(tmp_path.rglob("*.parquet")) == [first]
    # A sink that was held up for longer than its session leaves its batch to the next one.
    run_until_complete(settings, tmp_path, sent)
    assert len(tables(tmp_path)["verdicts"]) == 3
    assert len(list(tmp_path.rglob("*.parquet"))) == 2


def test_goes_on_where_it_stopped(settings: Settings, tmp_path: Path) -> None:
    """A stop writes what is in hand; a later run adds what is new, knowing ids and numbers."""
    patient = msgspec.structs.replace(settings, sink_seconds=3600.0, sink_records=10**6)
    records = traffic(settings, 40)
    first, second = records[: len(records) // 2], records[len(records) // 2 :]
    folder = tmp_path / "tables"
    send(settings, first)
    run_until_complete(settings, folder, first)
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    again = [record for record in first if record.topic != settings.topics.queries]
    send(settings, [*again, *second])
    for _ in range(3):  # what is in hand when Kafka rebalances is left to the next run
        with running(patient, folder) as run:
            wait_for(lambda: run.sink.in_hand == len(again) + len(second))
            assert {path: path.read_bytes() for path in folder.rglob("*.parquet")} == before
        if complete(folder, records, settings)():
            break
    assert complete(folder, records, settings)()
    assert before.items() <= {path: path.read_bytes() for path in folder.rglob("*.parquet")}.items()
    for name, rows in expected(records, settings).items():
        assert set(keys(tables(folder))[name]) == rows


def test_a_missing_topic_is_named(settings: Settings, tmp_path: Path) -> None:
    """A topic that is not there is an error with the next step."""
    elsewhere = msgspec.structs.replace(
        settings, topics=msgspec.structs.replace(settings.topics, scores="no-such-topic")
    )
    with pytest.raises(BrokerError, match=r"no topic no-such-topic .*topics apply"):
        run_alone(elsewhere, tmp_path)


def test_a_folder_of_another_topic_is_refused(settings: Settings, tmp_path: Path) -> None:
    """Files that the topic's group never wrote are not mixed with the topic's."""
    records = traffic(settings, 20)
    send(settings, records)
    run_until_complete(settings, tmp_path, records)
    before = tables(tmp_path)
    with EmbeddedBroker() as other:
        anew = msgspec.structs.replace(settings, brokers=other.address)
        apply(anew)
        with pytest.raises(TraceError, match="use another folder for --out"):
            run_alone(anew, tmp_path)
    assert tables(tmp_path) == before
