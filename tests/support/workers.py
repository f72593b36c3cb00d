"""The worker as tests run it: a process of its own, watched over its HTTP and its Kafka group."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from kafka import TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from gamekeeper.stream.kafka import Settings, admin, apply, consumer, producer, topic_ids
from support import ports
from support.processes import PATIENCE, Service

SERVE = "from gamekeeper.stream.cli.serve import serve; serve()"
PARTITIONS = 4
Record = tuple[bytes | None, bytes | None]


def environ_for(address: str, names: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Give a worker's environment: short timeouts, its own folder, names of its own."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": address,
        "GAMEKEEPER_PARTITIONS": str(PARTITIONS),
        "GAMEKEEPER_SESSION_TIMEOUT": "3",
        "GAMEKEEPER_REBALANCE_TIMEOUT": "6",
        "GAMEKEEPER_BATCH_WAIT_MS": "5",
        "GAMEKEEPER_DATA_DIR": str(folder),
        "GAMEKEEPER_LOG_FORMAT": "json",
        **names,
    }


def prepare(environ: Mapping[str, str]) -> Settings:
    """Make the topics; return the settings that go with the environment."""
    settings = Settings.from_env(environ)
    apply(settings)
    return settings


class Worker(Service):
    """One worker process, watched over its HTTP."""

    def __init__(
        self, environ: Mapping[str, str], command: Iterable[str] = (sys.executable, "-c", SERVE)
    ) -> None:
        """Say how it runs; it keeps its port and its folder over restarts."""
        self.port = ports.reserve()
        super().__init__(command, {**environ, "GAMEKEEPER_HTTP_PORT": str(self.port)})

    def get(self, path: str) -> tuple[int, str]:
        """Ask its HTTP; status 0 where nothing answers."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
                return response.status, response.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> bool:
        """Say whether `/readyz` says so; fails where the process has ended."""
        assert self.alive(), self.logged()[-4000:]
        return self.get("/readyz")[0] == 200

    def metric(self, name: str, **labels: str) -> float:
        """Read one of its metrics: the sum over all label values not given."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples]
        return sum(
            s.value for s in samples if s.name == name and labels.items() <= s.labels.items()
        )


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds; fails after `seconds`.

    A quarter of the time at most goes into looking: what is waited for needs the cores as well.
    """
    end = (begun := time.monotonic()) + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(max(0.05, 3 * (time.monotonic() - begun)))
        begun = time.monotonic()


def delete(settings: Settings, *topics: str) -> None:
    """Delete topics, and wait until they are gone.

    The embedded broker makes a topic again for whoever asks for it: there may be one of that name.
    """
    before = topic_ids(settings, topics)
    with admin(settings) as client:
        client.delete_topics(list(topics))
    wait_for(lambda: not before.items() & topic_ids(settings, topics).items())


def send(settings: Settings, records: Iterable[Record], partition: int | None = None) -> None:
    """Produce records to the queries topic, by their keys or to one partition, and wait for all."""
    with producer(settings) as client:
        for key, value in records:
            client.send(settings.topics.queries, key=key, value=value, partition=partition)
        client.flush()


def read(settings: Settings, topic: str) -> list[Any]:
    """Read all that a topic holds now, each partition in order."""
    with consumer(settings) as client:
        places = [TopicPartition(topic, each) for each in range(settings.partitions)]
        client.assign(places)
        client.seek_to_beginning()
        ends = client.end_offsets(places)
        records: list[Any] = []
        while True:
            behind = any(client.position(place) < ends[place] for place in places)
            polled = client.poll(timeout_ms=500 if behind else 0)
            records.extend(record for part in polled.values() for record in part)
            # The embedded broker's end is after the first record of the last batch, not after all.
            if not behind and not polled:
                return records


def all_applied(settings: Settings) -> bool:
    """Say whether the group has committed every offset of the queries topic."""
    return all_read(settings, settings.topics.queries, settings.app_id)


def all_read(settings: Settings, topic: str, group: str) -> bool:
    """Say whether a group has committed every offset of a topic."""
    with consumer(settings, group=group) as client:
        places = [TopicPartition(topic, each) for each in range(settings.partitions)]
        ends = client.end_offsets(places)
        return all((client.committed(place) or 0) >= ends[place] for place in places)
