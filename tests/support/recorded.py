"""Workers' state as a build left it: recorded once for each form of it, and read by tests.

    python tests/support/recorded.py FOLDER [--python PYTHON] [--code CODE]

records FOLDER with Apache Kafka: PYTHON runs the build, CODE is how that build serves. A worker
takes a part of the events, is killed, goes on with the next part and is told to stop; what is then
in Kafka and in its local store is kept, beside events that are still to come.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from kafka import TopicPartition

from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.kafka import Settings, consumer
from support import brokers
from support.workers import (
    PARTITIONS,
    SERVE,
    Record,
    Worker,
    all_applied,
    environ_for,
    prepare,
    read,
    send,
    wait_for,
)

FOLDER = Path(__file__).parents[1] / "stream" / "worker" / "recorded"
PROFILE = {
    "name": "recorded",
    "detectors": [
        {"detector": "prada", "threshold": 0.0, "options": {"window": 120, "growths": 16}},
        {"detector": "prada-v1", "threshold": 0.2, "options": {"growths": 16}},
        {"detector": "similarity", "threshold": 3.0, "options": {"delta": 0.5}},
    ],
    "policy": {"mode": "reset"},
}


class Recording(msgspec.Struct):
    """What is in Kafka: `queries` as they were sent, the changelog's records, what is committed.

    Of the queries, those behind the committed offsets are `later`, to be sent by the test. Records
    are `(partition, key, value)`, in each partition from offset 0, without gaps.
    """

    queries: list[tuple[int, bytes | None, bytes | None]]
    later: list[Record]
    changelog: list[tuple[int, bytes | None, bytes | None]]
    committed: dict[int, int]


def environ(name: str, address: str, folder: Path) -> dict[str, str]:
    """Give the environment of a recording's worker: headers of accounts name the topic."""
    profile = folder / "profile.json"
    profile.write_text(json.dumps(PROFILE))
    topics = {
        f"GAMEKEEPER_TOPIC_{kind.upper().replace('-', '_')}": f"{kind}-{name}"
        for kind in ("queries", "verdicts", "scores", "dead-letters", "profiles")
    }
    own = {"GAMEKEEPER_APP_ID": f"app-{name}", "GAMEKEEPER_PROFILE": str(profile), **topics}
    return environ_for(address, own, folder / "data")


def load(name: str) -> Recording:
    """Read a recording."""
    packed = (FOLDER / name / "kafka.msgpack.gz").read_bytes()
    return msgspec.msgpack.decode(gzip.decompress(packed), type=Recording)


def unpack(name: str, folder: Path) -> None:
    """Lay a recording's local store where its worker looks for it."""
    shutil.unpack_archive(FOLDER / name / "rocksdb.zip", folder / "data")


def events() -> list[Record]:
    """Make events of one to three rows with embeddings, of three accounts."""
    rng = np.random.default_rng(22)
    records: list[Record] = []
    for number in range(240):
        size = int(rng.integers(1, 4))
        account = f"account-{rng.integers(3)}"
        inputs = rng.gamma(0.5, size=(size, 6)).astype(np.float32)
        event = QueryEvent(
            id=str(number),
            account=account,
            model="digits",
            time=number * 1000,
            inputs=Tensor.from_array(inputs),
            labels=rng.integers(0, 3, size).tolist(),
            embedding=Tensor.from_array(inputs[:, :4]),
        )
        records.append((event_key(account), encode_event(event)))
    return records


def committed(settings: Settings) -> dict[int, int]:
    """Read the group's offsets."""
    with consumer(settings, group=settings.app_id) as client:
        places = [TopicPartition(settings.topics.queries, each) for each in range(PARTITIONS)]
        return {each.partition: client.committed(each) or 0 for each in places}


def record(name: str, out: Path, python: str, code: str) -> Recording:
    """Let a build's worker take two thirds of the events, with a kill between."""
    with brokers.make_broker("kafka") as broker, tempfile.TemporaryDirectory() as temporary:
        settings = prepare(where := environ(name, broker.address, Path(temporary)))
        sent = events()
        with Worker(where, (python, "-c", code)) as worker:
            send(settings, sent[:90])
            wait_for(lambda: all_applied(settings))
            send(settings, sent[90:120])
            worker.kill()
            worker.start()
            send(settings, sent[120:165])
            wait_for(lambda: all_applied(settings))
            assert worker.terminate() == 0, worker.logged()
        store = Path(where["GAMEKEEPER_DATA_DIR"])
        for each in [*store.rglob("LOG*"), *store.rglob("OPTIONS*"), *store.rglob("LOCK")]:
            each.unlink()  # RocksDB makes them anew; some name folders of the machine
        shutil.make_archive(str(out / "rocksdb"), "zip", store)
        return Recording(
            _records(settings, settings.topics.queries),
            sent[165:],
            _records(settings, settings.changelog),
            committed(settings),
        )


def _records(settings: Settings, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
    found = read(settings, topic)
    for partition in range(PARTITIONS):
        offsets = [each.offset for each in found if each.partition == partition]
        assert offsets == list(range(len(offsets))), "offsets would not be the same again"
    return [(each.partition, each.key, each.value) for each in found]


def main() -> None:
    """Record one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--code", default=SERVE)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    made = record(asked.folder.name, asked.folder, asked.python, asked.code)
    packed = gzip.compress(msgspec.msgpack.encode(made), mtime=0)
    (asked.folder / "kafka.msgpack.gz").write_bytes(packed)


if __name__ == "__main__":
    main()
