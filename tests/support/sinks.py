"""The sink as tests run it: in a thread, or as a process that can be killed and suspended."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from gamekeeper.schemas.errors import GamekeeperError
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.sink import Lane, QueryLane, ScoreLane, Sink, VerdictLane
from support import brokers
from support.processes import spawned
from support.sink_traffic import Sent, complete
from support.workers import PATIENCE, wait_for

ALL: dict[str, type[Lane]] = {"verdicts": VerdictLane, "queries": QueryLane, "scores": ScoreLane}


def variables(names: brokers.Names, broker: brokers.Broker) -> dict[str, str]:
    """Give the variables of a sink that writes often and moves soon."""
    seconds = "6" if isinstance(broker, brokers.GivenCluster) else "2"
    return {
        **names.environ,
        "KAFKA_BOOTSTRAP_SERVERS": broker.address,
        "GAMEKEEPER_PARTITIONS": "3",
        "GAMEKEEPER_SESSION_TIMEOUT": seconds,
        "GAMEKEEPER_REBALANCE_TIMEOUT": seconds,
        "GAMEKEEPER_SINK_SECONDS": "0.3",
        "GAMEKEEPER_SINK_RECORDS": "40",
    }


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


def run_until_complete(settings: Settings, folder: Path, records: list[Sent]) -> None:
    """Run a sink until the folder has all rows of the records."""
    with running(settings, folder):
        wait_for(complete(folder, records, settings))


def run_alone(settings: Settings, folder: Path) -> None:
    """Run a sink until it raises, or for some minutes."""
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
def process(
    environ: Mapping[str, str], folder: Path, before: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Run `gamekeeper sink` as a process, killed at the end of the block if it still runs.

    `before` is a script that is run first, in the same process. What fails in the block is told
    with the end of the process's log.
    """
    arguments = ["sink", "--out", folder, "--queries", "--scores"]
    with (
        log_of(folder).open("wb") as log,
        spawned(*arguments, environ=environ, before=before, stdout=log, stderr=log) as child,
    ):
        try:
            yield child
        except AssertionError as error:
            error.add_note(log_of(folder).read_text(errors="replace")[-8000:])
            raise
