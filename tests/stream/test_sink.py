"""The sink: each record's rows once, whatever is killed, stopped or suspended when."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import brokers
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gamekeeper.schemas.errors import BrokerError, GamekeeperError, TraceError
from gamekeeper.schemas.event import QueryEvent, encode_event
from gamekeeper.schemas.tables import QUERIES, SCORES, VERDICTS
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Verdict, encode_verdict
from gamekeeper.stream.broker import EmbeddedBroker
from gamekeeper.stream.kafka import producer
from gamekeeper.stream.lanes import Lane, QueryLane, ScoreLane, VerdictLane
from gamekeeper.stream.settings import Settings
from gamekeeper.stream.sink import Sink
from gamekeeper.stream.sink_files import Partition, group_of
from gamekeeper.stream.topics import apply

pytestmark = pytest.mark.broker

PARTITIONS = 3
DAY = 86_400_000_000
NOON = 1_700_049_600_000_000  # 2023-11-15, 12:00 UTC
PATIENCE = 60.0
ALL: dict[str, type[Lane]] = {"verdicts": VerdictLane, "queries": QueryLane, "scores": ScoreLane}
SCHEMAS = {"verdicts": VERDICTS, "queries": QUERIES, "scores": SCORES}
ORDER = {
    "verdicts": ("_topic", "_partition", "_offset"),
    "queries": ("account", "model", "query"),
    "scores": ("account", "model", "query", "detector"),
}


class Sent(NamedTuple):
    """A record to be sent, keyed by its account."""

    topic: str
    account: str
    value: bytes | None


def variables(names: brokers.Names, broker: brokers.Broker) -> dict[str, str]:
    """Give the variables of a sink that writes often and moves soon."""
    seconds = "6" if isinstance(broker, brokers.GivenCluster) else "2"
    return {
        **names.environ,
        "KAFKA_BOOTSTRAP_SERVERS": broker.address,
        "GAMEKEEPER_PARTITIONS": str(PARTITIONS),
        "GAMEKEEPER_SESSION_TIMEOUT": seconds,
        "GAMEKEEPER_REBALANCE_TIMEOUT": seconds,
        "GAMEKEEPER_SINK_SECONDS": "0.3",
        "GAMEKEEPER_SINK_RECORDS": "40",
    }


@pytest.fixture
def environ(broker: brokers.Broker, names: brokers.Names) -> dict[str, str]:
    """Variables of a sink with the test's own topics on the shared broker."""
    return variables(names, broker)


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """The same as settings, with the topics made."""
    settings = Settings.from_env(environ)
    apply(settings)
    return settings


def verdict(number: int, account: str, day: int = 0) -> Verdict:
    """Make a verdict that is told from others by its number."""
    return Verdict(
        id=f"id-{number}",
        activity="create",
        finding=f"finding-{number}",
        account=account,
        model="digits",
        detector="prada",
        statistic=0.5,
        threshold=0.1,
        severity="high",
        queries=number + 1,
        query=number,
        first_time=NOON,
        last_time=NOON + day * DAY + number,
        reason="threshold",
        evidence={"w": 0.5, "number": number},
        profile="0123456789abcdef",
        promise={},
        topic="queries",
        partition=0,
        offset=number,
        row=0,
    )


def query(number: int, account: str, rows: int, day: int = 0) -> QueryEvent:
    """Make an event of a few queries."""
    return QueryEvent(
        id=f"event-{number}",
        account=account,
        model="digits",
        time=NOON + day * DAY + number,
        inputs=Tensor.from_array(np.full((rows, 2), number, np.float32)),
        labels=[number % 10] * rows,
    )


def scores(number: int, account: str) -> bytes:
    """Make a scores record of two queries and two detectors, one of which is not yet ready."""
    body = {
        "schema": 1,
        "account": account,
        "model": "digits",
        "event": f"event-{number}",
        "query": 2 * number,
        "time": NOON + number,
        "statistics": {"prada": [0.25, number], "prada-v1": [None, None]},
    }
    return json.dumps(body).encode()


def traffic(settings: Settings, count: int) -> list[Sent]:
    """Make records of all three kinds, with doubles, tombstones, orders and broken ones."""
    topics = settings.topics
    sent = []
    for number in range(count):
        account = f"account-{number % 7}"
        body = encode_verdict(verdict(number, account, day=number % 3))
        event = query(number, account, rows=1 + number % 3, day=number // (count // 2))
        sent += [
            Sent(topics.verdicts, account, body),
            Sent(topics.queries, account, encode_event(event)),
            Sent(topics.scores, account, scores(number, account)),
        ]
        if number % 5 == 0:
            sent.append(Sent(topics.verdicts, account, body))
            sent.append(Sent(topics.scores, account, scores(number, account)))
        if number % 11 == 0:
            sent.append(Sent(topics.verdicts, account, b"{"))
            sent.append(Sent(topics.queries, "somebody else", encode_event(event)))
            sent.append(Sent(topics.scores, account, b"[]"))
        if number % 13 == 0:
            sent.append(Sent(topics.verdicts, account, None))
            sent.append(Sent(topics.queries, account, b"{}"))  # an order, not an event
    return sent


def send(settings: Settings, records: list[Sent], pause: float = 0.0) -> None:
    """Send records in order, waiting between them."""
    with producer(settings, linger_ms=0) as client:
        for record in records:
            client.send(record.topic, record.value, key=record.account.encode())
            if pause:
                time.sleep(pause)
        client.flush(PATIENCE)


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the folder's tables, each in an order that does not depend on how files were cut."""
    found = {}
    for name, schema in SCHEMAS.items():
        files = sorted((folder / name).glob("date=*/*.parquet"))
        parts = [pq.read_table(path, partitioning=None) for path in files]
        assert all(part.schema.equals(schema) for part in parts)
        rows = pa.concat_tables(parts).to_pylist() if parts else []
        found[name] = sorted(rows, key=lambda row: [row[column] for column in ORDER[name]])
    return found


def rejected(folder: Path) -> list[dict[str, Any]]:
    """Read the records that could not be read, by place."""
    lines = [
        json.loads(line)
        for path in (folder / "rejected").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    return sorted(lines, key=lambda line: (line["topic"], line["partition"], line["offset"]))


def expected(records: list[Sent], settings: Settings) -> dict[str, set[tuple[Any, ...]]]:
    """Say, the obvious way, which rows must be there."""
    counts: dict[str, int] = {}
    rows: dict[str, set[tuple[Any, ...]]] = {name: set() for name in ALL}
    for record in records:
        if record.value in (None, b"{", b"[]", b"{}") or record.account == "somebody else":
            continue
        if record.topic == settings.topics.verdicts:
            rows["verdicts"].add((record.account, json.loads(record.value)["id"]))
        elif record.topic == settings.topics.scores:
            body = json.loads(record.value)
            for detector, values in body["statistics"].items():
                for index, value in enumerate(values):
                    rows["scores"].add((record.account, body["query"] + index, detector, value))
        else:
            number = int(record.value.partition(b"event-")[2].split(b"\xa7")[0])
            for row in range(1 + number % 3):
                first = counts.get(record.account, 0)
                counts[record.account] = first + 1
                rows["queries"].add((record.account, first, f"event-{number}", row))
    return rows


def keys(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Cut rows down to what `expected` speaks of."""
    columns = {
        "verdicts": ("account", "id"),
        "queries": ("account", "query", "event", "row"),
        "scores": ("account", "query", "detector", "statistic"),
    }
    return {name: [tuple(row[c] for c in columns[name]) for row in found[name]] for name in ALL}


def wait(done: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE} s"
        time.sleep(0.05)


def more(folder: Path, before: set[Path]) -> bool:
    """Say whether there are files that were not there before."""
    return not set(folder.rglob("*.parquet")) <= before


def complete(folder: Path, records: list[Sent], settings: Settings) -> Callable[[], bool]:
    """Say whether the folder has as many rows as it must have."""
    wanted = {name: len(rows) for name, rows in expected(records, settings).items()}

    def check() -> bool:
        try:
            return {name: len(rows) for name, rows in tables(folder).items()} == wanted
        except FileNotFoundError:  # removed between listing and reading
            return False

    return check


class Run(NamedTuple):
    """A sink and the thread that it runs in."""

    sink: Sink
    thread: threading.Thread


@contextmanager
def running(settings: Settings, folder: Path, *kinds: str) -> Iterator[Run]:
    """Run a sink in a thread; what it raises is raised at the end of the block."""
    stopped, failures = threading.Event(), list[GamekeeperError]()
    topics = {getattr(settings.topics, kind): ALL[kind] for kind in kinds or ALL}

    sink = Sink(settings, folder, topics, stopped)

    def run() -> None:
        try:
            sink.run()
        except GamekeeperError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Run(sink, thread)
    finally:
        stopped.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        if failures:
            raise failures[0]


def run_alone(settings: Settings, folder: Path) -> None:
    """Run a sink until it raises, or for a minute."""
    stopped = threading.Event()
    alarm = threading.Timer(PATIENCE, stopped.set)
    alarm.start()
    try:
        topics = {getattr(settings.topics, kind): lane for kind, lane in ALL.items()}
        Sink(settings, folder, topics, stopped).run()
    finally:
        alarm.cancel()


def log_of(folder: Path) -> Path:
    """Name the file that the last process's log for a folder goes to."""
    return folder.with_suffix(".log")


def started(folder: Path) -> bool:
    """Say whether the folder's last process has begun its work."""
    return '"started"' in log_of(folder).read_text()


@contextmanager
def process(environ: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `gamekeeper sink` as a process, killed at the end of the block if it still runs."""
    code = "from gamekeeper.stream.cli import main; main()"
    arguments = ["sink", "--out", str(folder), "--queries", "--scores"]
    with log_of(folder).open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], env=dict(environ), stderr=log
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def test_writes_each_record_once(settings: Settings, tmp_path: Path) -> None:
    """All tables hold what was sent, once; broken records are set aside with place and reason."""
    records = traffic(settings, 60)
    send(settings, records)
    with running(settings, tmp_path):
        wait(complete(tmp_path, records, settings), "all rows")
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
        wait(lambda: len(tables(tmp_path)["verdicts"]) == 30, "verdicts")
    assert {path.name for path in tmp_path.iterdir()} == {"verdicts", "rejected", "sink.json"}
    for path in (tmp_path / "verdicts").glob("date=*/*"):
        rows = pq.read_table(path, partitioning=None).to_pylist()
        assert {f"date={row['last_time']:%Y-%m-%d}" for row in rows} == {path.parent.name}
        partition, first = rows[0]["_partition"], int(path.stem[-20:])
        assert path.name == f"{settings.topics.verdicts}-{partition}-{first:020d}.parquet"
        assert all(row["_partition"] == partition and row["_offset"] >= first for row in rows)
    days = {path.name for path in (tmp_path / "verdicts").iterdir()}
    assert days == {"date=2023-11-15", "date=2023-11-16", "date=2023-11-17"}


def test_goes_on_where_it_stopped(settings: Settings, tmp_path: Path) -> None:
    """A stop writes what is in hand; a later run adds what is new, knowing ids and numbers."""
    patient = msgspec.structs.replace(settings, sink_seconds=3600.0, sink_records=10**6)
    records = traffic(settings, 40)
    first, second = records[: len(records) // 2], records[len(records) // 2 :]
    folder = tmp_path / "tables"
    send(settings, first)
    with running(settings, folder):
        wait(complete(folder, first, settings), "the first half")
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    again = [record for record in first if record.topic != settings.topics.queries]
    send(settings, [*again, *second])
    with running(patient, folder) as run:
        wait(lambda: run.sink.in_hand == len(again) + len(second), "all new records read")
        assert {path: path.read_bytes() for path in folder.rglob("*.parquet")} == before
    assert complete(folder, records, settings)()
    assert before.items() <= {path: path.read_bytes() for path in folder.rglob("*.parquet")}.items()
    for name, rows in expected(records, settings).items():
        assert set(keys(tables(folder))[name]) == rows


def test_survives_kills(settings: Settings, environ: dict[str, str], tmp_path: Path) -> None:
    """Killed again and again while records come, the tables are those of an undisturbed run."""
    chance = random.Random(7)
    records = traffic(settings, 240)
    flow = threading.Thread(target=send, args=(settings, records, 0.012))
    flow.start()
    folder = tmp_path / "killed"
    try:
        for _ in range(3):
            before = set(folder.rglob("*.parquet"))
            with process(environ, folder) as child:
                wait(partial(more, folder, before), "a new file")
                time.sleep(chance.uniform(0.0, 0.6))
                child.send_signal(signal.SIGKILL)
    finally:
        flow.join()
    with process(environ, folder) as child:
        wait(partial(started, folder), "the start")
        wait(complete(folder, records, settings), "all rows after the kills")
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE) == 0
    calm = tmp_path / "calm"
    with running(settings, calm):
        wait(complete(calm, records, settings), "all rows of the undisturbed run")
    assert tables(folder) == tables(calm)
    assert rejected(folder) == rejected(calm)
    assert not list(folder.rglob("*.tmp"))


def test_two_sinks_share_the_work(
    settings: Settings, environ: dict[str, str], tmp_path: Path
) -> None:
    """A second sink takes partitions over and gives them back; nothing is lost or doubled."""
    records = traffic(settings, 150)
    flow = threading.Thread(target=send, args=(settings, records, 0.012))
    folder = tmp_path / "tables"
    with running(settings, folder):
        flow.start()
        wait(lambda: any(folder.rglob("*.parquet")), "a first file")
        with process(environ, folder) as second:
            time.sleep(3)
            second.send_signal(signal.SIGINT)
            assert second.wait(PATIENCE) == 0
        flow.join()
        wait(complete(folder, records, settings), "all rows")
    for name, rows in expected(records, settings).items():
        assert set(keys(tables(folder))[name]) == rows


def test_a_suspended_sink_does_no_harm(
    settings: Settings, environ: dict[str, str], tmp_path: Path
) -> None:
    """A sink that wakes up after its partitions have moved leaves the new owner's files alone."""
    records = traffic(settings, 80)
    half = len(records) // 2
    folder = tmp_path / "tables"
    lazy = {**environ, "GAMEKEEPER_SINK_SECONDS": "3", "GAMEKEEPER_SINK_RECORDS": "100000"}
    send(settings, records[:half])
    with process(lazy, folder) as sleeper:
        wait(lambda: any(folder.rglob("*.parquet")), "a first file")
        send(settings, records[half:])
        time.sleep(1)
        sleeper.send_signal(signal.SIGSTOP)
        with running(settings, folder):
            wait(complete(folder, records, settings), "all rows by the second sink")
            good = tables(folder)
            sleeper.send_signal(signal.SIGCONT)
            time.sleep(4)
            assert tables(folder) == good
        sleeper.send_signal(signal.SIGTERM)
        assert sleeper.wait(PATIENCE) == 0
    assert tables(folder) == good


def test_survives_a_broker_that_is_killed(
    own_broker: brokers.LoopbackBroker, names: brokers.Names, tmp_path: Path
) -> None:
    """A sink goes on when its broker is back, unless the broker has forgotten everything."""
    settings = Settings.from_env(variables(names, own_broker))
    apply(settings)
    records = traffic(settings, 60)
    half = len(records) // 2
    send(settings, records[:half])
    forgetful = isinstance(own_broker, EmbeddedBroker)
    ending = pytest.raises(TraceError, match="another folder") if forgetful else nullcontext()
    with ending, running(settings, tmp_path) as run:
        wait(complete(tmp_path, records[:half], settings), "the first half")
        own_broker.kill()
        own_broker.start()
        if forgetful:
            apply(settings)
            wait(lambda: not run.thread.is_alive(), "the refusal")
        else:
            send(settings, records[half:])
            wait(complete(tmp_path, records, settings), "the second half")


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
    with running(settings, tmp_path):
        wait(complete(tmp_path, records, settings), "all rows")
    before = tables(tmp_path)
    with EmbeddedBroker() as other:
        anew = msgspec.structs.replace(settings, brokers=other.address)
        apply(anew)
        with pytest.raises(TraceError, match="use another folder for --out"):
            run_alone(anew, tmp_path)
    assert tables(tmp_path) == before


def test_a_folder_has_one_group(tmp_path: Path) -> None:
    """A folder's group stays; another folder has another; a foreign file is an error."""
    group = group_of(tmp_path / "a", "keeper")
    assert group.startswith("keeper-sink-")
    assert group_of(tmp_path / "a", "keeper") == group
    assert group_of(tmp_path / "b", "keeper") != group
    for foreign in ("", "[]", '{"group": 1}'):
        (tmp_path / "b" / "sink.json").write_text(foreign)
        with pytest.raises(TraceError, match=r"sink\.json"):
            group_of(tmp_path / "b", "keeper")


def test_only_doubtful_files_of_the_partition_are_removed(tmp_path: Path) -> None:
    """Taking a partition over removes what is not committed of it, and nothing else."""
    mine = Partition(tmp_path, "verdicts", "topic", 1)
    for name in ("topic-1", "topic-12", "topic-1-1", "other-1"):
        for offset in (0, 5, 10):
            for table, suffix in (("verdicts/date=2023-11-15", "parquet"), ("rejected", "jsonl")):
                path = tmp_path / table / f"{name}-{offset:020d}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                path.with_name(f".{path.name}.77.tmp").touch()
    everything = {path for path in tmp_path.rglob("*") if path.is_file()}
    mine.forget(5)
    removed = everything - {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in removed if path.suffix != ".tmp"} == {
        f"topic-1-{offset:020d}.{suffix}" for offset in (5, 10) for suffix in ("parquet", "jsonl")
    }
    assert [path.name for path in mine.files()] == [f"topic-1-{0:020d}.parquet"]
