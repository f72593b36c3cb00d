"""The worker as tests run it: a process of its own, watched over its HTTP and its Kafka group."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
from kafka import TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from gamekeeper.stream.kafka import Settings, apply, consumer, producer
from support import ports

SERVE = "from gamekeeper.stream.cli.serve import serve; serve()"
PARTITIONS = 4
PATIENCE = 180.0
"""Seconds for what takes a few where nothing else runs; only what fails takes so long."""
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


class Worker:
    """One worker process; leaving the context kills it."""

    def __init__(
        self, environ: Mapping[str, str], command: Iterable[str] = (sys.executable, "-c", SERVE)
    ) -> None:
        """Say how it runs; it keeps its port and its folder over restarts."""
        self.port = ports.reserve()
        self._environ = {
            "PATH": "/usr/bin:/bin",
            **environ,
            "GAMEKEEPER_HTTP_PORT": str(self.port),
        }
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__

    def __enter__(self) -> Worker:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, however it is."""
        self.kill()
        self.log.close()

    def start(self) -> None:
        """Start the process."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def terminate(self) -> int:
        """End it with SIGTERM and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def stopped(self) -> bool:
        """Say whether a SIGSTOP holds it."""
        assert self._process is not None
        return psutil.Process(self._process.pid).status() == psutil.STATUS_STOPPED

    def suspend(self) -> None:
        """Hold it with SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        wait_for(self.stopped)

    def wake(self) -> None:
        """Let it go on after a SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def alive(self) -> bool:
        """Say whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def logged(self) -> str:
        """Read what it has logged so far."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

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


def send(settings: Settings, records: Iterable[Record], partition: int | None = None) -> None:
    """Produce records to the queries topic, by their keys or to one partition, and wait for all."""
    with producer(settings) as client:
        for key, value in records:
            client.send(settings.topics.queries, key=key, value=value, partition=partition)
        client.flush()


def read(settings: Settings, topic: str) -> list[Any]:
    """Read all that a topic holds now, each partition in order."""
    with consumer(settings) as client:
        places = [TopicPartition(topic, each) for each in range(PARTITIONS)]
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
    with consumer(settings, group=settings.app_id) as client:
        places = [TopicPartition(settings.topics.queries, each) for each in range(PARTITIONS)]
        ends = client.end_offsets(places)
        return all((client.committed(place) or 0) >= ends[place] for place in places)
