"""Kill workers at random moments while a trace plays; then compare with an undisturbed run."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import numpy as np

from gamekeeper.replay.demo.processes import running
from gamekeeper.replay.tables import connect
from gamekeeper.replay.tables import run as sql
from gamekeeper.replay.tables.verdicts import from_tables
from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import decode_verdict, encode_verdict
from gamekeeper.stream.kafka import Settings, producer
from support.workers import Record, Worker, all_applied, environ_for, prepare, read, wait_for

QUERIES_PER_ACCOUNT = 300
# Every account alarms whenever it can, about every 100 queries, and each alarm shows what the
# detector had remembered.
PROFILE = {
    "name": "crash",
    "detectors": [
        {"detector": "prada", "threshold": 0.0},
        {"detector": "prada-v1", "threshold": 0.2},
    ],
    "policy": {"mode": "reset"},
}


class Comparison(msgspec.Struct):
    """Verdicts of the disturbed run against those of the undisturbed one."""

    expected: int
    missing: int
    differing: int
    unknown: int
    repeated: int

    @property
    def good(self) -> bool:
        """Whether the verdicts are the same, each there once."""
        faults = self.missing, self.differing, self.unknown, self.repeated
        return bool(self.expected) and not any(faults)


def make_trace(queries: int, seed: int = 0) -> list[Record]:
    """Make events of one to three rows, `queries` rows in all."""
    rng = np.random.default_rng(seed)
    records: list[Record] = []
    rows = 0
    while rows < queries:
        size = min(int(rng.integers(1, 4)), queries - rows)
        account = f"account-{rng.integers(max(1, queries // QUERIES_PER_ACCOUNT))}"
        event = QueryEvent(
            id=str(len(records)),
            account=account,
            model="digits",
            time=len(records) * 1000,
            inputs=Tensor.from_array(rng.gamma(0.5, size=(size, 16)).astype(np.float32)),
            labels=rng.integers(0, 3, size).tolist(),
        )
        records.append((event_key(account), encode_event(event)))
        rows += size
    return records


def run(
    address: str,
    *,
    queries: int,
    kills: int,
    workers: int = 1,
    seed: int = 0,
    store: str = "rocksdb",
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Play a trace to workers that are killed `kills` times, with a sink beside them.

    The sink's tables are compared with the verdicts of an undisturbed run over the same topic.
    """
    with _folder() as folder:
        profile = folder / "profile.json"
        profile.write_text(json.dumps(PROFILE))
        topic = f"queries-{uuid.uuid4().hex[:8]}"
        common = {
            "GAMEKEEPER_PROFILE": str(profile),
            "GAMEKEEPER_TOPIC_QUERIES": topic,
            "GAMEKEEPER_STORE": store,
            "GAMEKEEPER_SINK_SECONDS": "1",
        }
        disturbed = [
            environ_for(
                address, {**common, **_names(topic, "disturbed")}, folder / f"worker-{each}"
            )
            for each in range(workers)
        ]
        settings = prepare(disturbed[0])
        records = make_trace(queries, seed)
        tables = folder / "tables"
        tables.mkdir()
        with ExitStack() as stack:
            sink = stack.enter_context(
                running(["sink", "--out", str(tables)], disturbed[0], tables)
            )
            victims = [stack.enter_context(Worker(environ)) for environ in disturbed]
            _disturb(settings, victims, records, kills, random.Random(seed), say)
            say("waiting for the last events")
            wait_for(lambda: all_applied(settings))
            sent = {uid for uid, _ in _verdicts(settings)}
            wait_for(lambda: sent <= {uid for uid, _ in written(tables)})
            sink.stop()
        calm = environ_for(address, {**common, **_names(topic, "calm")}, folder / "calm")
        undisturbed = prepare(calm)
        with Worker(calm):
            wait_for(lambda: all_applied(undisturbed))
        return compare(_verdicts(undisturbed), written(tables))


def _disturb(
    settings: Settings,
    running: list[Worker],
    records: list[Record],
    kills: int,
    chance: random.Random,
    say: Callable[[str], None],
) -> None:
    """Send the records evenly over the workers' lives; end some of these before they are ready."""
    with producer(settings) as client:
        size = -(-len(records) // (kills + 1))
        for number in range(kills):
            victim = chance.choice(running)
            early = chance.random() < 0.2
            if not early:
                wait_for(lambda: all(worker.ready() for worker in running))
            share = records[number * size : (number + 1) * size]
            moment = chance.uniform(0, 2.0)
            start = time.monotonic()
            for place, (key, value) in enumerate(share):
                client.send(settings.topics.queries, key=key, value=value)
                time.sleep(max(0.0, start + moment * 1.2 * place / size - time.monotonic()))
                if victim.alive() and time.monotonic() >= start + moment:
                    victim.kill()
            time.sleep(max(0.0, start + moment - time.monotonic()))
            victim.kill()
            say(f"kill {number + 1} of {kills}, {'early' if early else 'ready'}")
            victim.start()
        for key, value in records[kills * size :]:
            client.send(settings.topics.queries, key=key, value=value)
        client.flush()


def compare(expected: list[tuple[str, bytes]], actual: list[tuple[str, bytes]]) -> Comparison:
    """Compare verdicts given as (id, encoded)."""
    truth = dict(expected)
    ids = {each for each, _ in actual}
    return Comparison(
        expected=len(truth),
        missing=len(truth.keys() - ids),
        differing=sum(each in truth and truth[each] != value for each, value in actual),
        unknown=len(ids - truth.keys()),
        repeated=len(actual) - len(ids),
    )


def _verdicts(settings: Settings) -> list[tuple[str, bytes]]:
    records = read(settings, settings.topics.verdicts)
    return [(decode_verdict(record.value).id, record.value) for record in records]


def written(tables: Path) -> list[tuple[str, bytes]]:
    """Read every row of the sink's table as (id, encoded verdict); doubles would be there twice."""
    [answer] = sql(connect(tables), "SELECT id FROM verdicts")
    # Read after the ids: the sink may have written more in between, never less.
    truth = {verdict.id: encode_verdict(verdict) for verdict in from_tables(tables)}
    return [(uid, truth[uid]) for (uid,) in answer.rows]


def _names(topic: str, kind: str) -> dict[str, str]:
    return {
        "GAMEKEEPER_APP_ID": f"{kind}-{topic}",
        "GAMEKEEPER_TOPIC_VERDICTS": f"verdicts-{kind}-{topic}",
        "GAMEKEEPER_TOPIC_SCORES": f"scores-{kind}-{topic}",
        "GAMEKEEPER_TOPIC_DEAD_LETTERS": f"dead-letters-{kind}-{topic}",
        "GAMEKEEPER_TOPIC_PROFILES": f"profiles-{kind}-{topic}",
    }


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="gamekeeper-crash-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
