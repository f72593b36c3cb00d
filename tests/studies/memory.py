"""A worker that meets many cold accounts at once: its memory, its health, and how long it takes.

    python tests/studies/memory.py large|many [--code FOLDER]...

`large`: 100 accounts of 9 MiB each, at GAMEKEEPER_HOT_BYTES of 64 MiB; `many`: 3,000 accounts of
200 queries, at 2 GiB. A worker takes their queries (28x28 uint8, hardened PRADA) and is stopped.
Then, for each `--code` (a folder with the package `gamekeeper`, such as `build/types` of another
checkout) and at last for this one, each account sends one event more and a worker is started on
that state. Until all are applied, its memory is read, and its health and metrics are asked for
about ten times a second: three requests, of which the slowest round is told.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.kafka import Settings
from support import brokers
from support.workers import (
    SERVE,
    Record,
    Worker,
    all_applied,
    environ_for,
    prepare,
    send,
    wait_for,
)

MIB = 2**20
MINUTES = 15 * 60.0


class Scenario(NamedTuple):
    """So many accounts, each of so many events of so many rows, and the memory allowed."""

    accounts: int
    events: int
    rows: int
    hot_bytes: int


SCENARIOS = {"large": Scenario(100, 6, 400, 64 * MIB), "many": Scenario(3000, 1, 200, 2048 * MIB)}


def event(account: str, number: int, rows: int, rng: np.random.Generator) -> Record:
    """Make an event of noise: rows that lie far from each other, so that nearly all are kept."""
    made = QueryEvent(
        id=f"{account}-{number}",
        account=account,
        model="digits",
        time=number,
        inputs=Tensor.from_array(rng.integers(0, 256, (rows, 28, 28)).astype(np.uint8)),
        labels=rng.integers(0, 10, rows).tolist(),
    )
    return event_key(account), encode_event(made)


def events(scenario: Scenario, first: int, count: int, rows: int) -> Iterator[Record]:
    """Make each account's events in turn."""
    rng = np.random.default_rng(first)
    for number in range(first, first + count):
        for account in range(scenario.accounts):
            yield event(f"account-{account}", number, rows, rng)


class Watch:
    """Reads a worker's memory in a thread: the most that was resident."""

    def __init__(self, worker: Worker) -> None:
        """Begin."""
        self._process = psutil.Process(worker.pid)
        self._done = threading.Event()
        self.peak = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._done.wait(0.05):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def stop(self) -> None:
        """End."""
        self._done.set()
        self._thread.join()


def measure(environ: dict[str, str], settings: Settings, scenario: Scenario, number: int) -> str:
    """Let each account send one event, start a worker on what is stored, and tell what it took."""
    send(settings, events(scenario, number, 1, 1))
    with Worker(environ, [sys.executable, "-c", SERVE]) as worker:
        watch = Watch(worker)
        wait_for(lambda: worker.get("/livez")[0] == 200, MINUTES)
        begun = time.monotonic()
        slowest = hot = applied = 0.0
        while applied < scenario.accounts:
            time.sleep(0.1)
            asked = time.monotonic()
            worker.get("/livez")
            applied = worker.metric("gamekeeper_queries_total")
            hot = max(hot, worker.metric("gamekeeper_hot_bytes"))
            slowest = max(slowest, time.monotonic() - asked)
        took = time.monotonic() - begun
        watch.stop()
        worker.terminate()
    return (
        f"at most {watch.peak / MIB:.0f} MiB resident, hot bytes {hot / MIB:.0f} MiB, {took:.1f} s "
        f"until applied, health after {slowest:.2f} s at most"
    )


def main() -> None:
    """Run a scenario; print a line for each state of the code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=list(SCENARIOS))
    parser.add_argument("--code", action="append", default=[])
    asked = parser.parse_args()
    scenario = SCENARIOS[asked.scenario]
    with brokers.make_broker("embedded") as broker, tempfile.TemporaryDirectory() as folder:
        environ = environ_for(broker.address, {}, Path(folder))
        environ["GAMEKEEPER_HOT_BYTES"] = str(scenario.hot_bytes)
        environ["GAMEKEEPER_LOG_LEVEL"] = "WARNING"
        settings = prepare(environ)
        with Worker(environ) as worker:
            wait_for(worker.ready, MINUTES)
            send(settings, events(scenario, 0, scenario.events, scenario.rows))
            wait_for(lambda: all_applied(settings), MINUTES)
            worker.terminate()
        for number, code in enumerate([*asked.code, ""], scenario.events):
            other = {**environ, "PYTHONPATH": code} if code else environ
            print(
                f"{code or 'this code'}: {measure(other, settings, scenario, number)}", flush=True
            )


if __name__ == "__main__":
    main()
