"""A tap that talks to a topic and a recording that listens to it: what is said, lost and kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from gamekeeper.replay.traces import Recorded, Wanted, record
from gamekeeper.stream.kafka import Settings, lives, reader
from gamekeeper.stream.tap import QueryTap, publisher
from support.workers import PATIENCE, wait_for

ACCOUNTS = 5
IMAGE = np.ones((1, 4), np.float32)


class Listening:
    """A tap and, in a thread, a recording of its topic, which is whole at the end of the block."""

    def __init__(self, settings: Settings, out: Path, wanted: Wanted) -> None:
        """Prepare both."""
        self.tap = QueryTap(
            settings.brokers, model="m", topic=settings.topics.queries, close_timeout=PATIENCE
        )
        self.said: list[str] = []
        self.recorded = Recorded()
        self.out = out
        self._stopped = threading.Event()
        self._what = settings, settings.topics.queries, out, wanted
        self._thread = threading.Thread(target=self._record)
        self.sent = 0

    def _record(self) -> None:
        record(*self._what, skipped=self.said.append, advance=self._advance)

    def _advance(self, recorded: Recorded) -> None:
        self.recorded = recorded
        if self._stopped.is_set():
            raise KeyboardInterrupt

    def send(self, count: int) -> None:
        """Have the tap record one query after another, by turns of the accounts."""
        for number in range(self.sent, self.sent + count):
            assert self.tap.record(f"account-{number % ACCOUNTS}", IMAGE, [number])
        self.sent += count

    def heard(self, words: str) -> bool:
        """Say whether the recording has said it."""
        return any(words in line for line in self.said)

    @property
    def events(self) -> int:
        """How many events are recorded."""
        return self.recorded.events

    def has(self, count: int) -> bool:
        """Say whether as many queries are recorded."""
        assert self._thread.is_alive(), self.said
        return self.recorded.queries >= count

    def labels(self) -> list[int]:
        """Name the queries of the trace, in order."""
        return sorted(pq.read_table(self.out)["label"].to_pylist())

    def start(self) -> None:
        """Begin to record."""
        self._thread.start()

    def stop(self) -> None:
        """End both; fails where the recording does not end."""
        self._stopped.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self.tap.close()


@contextmanager
def listening(settings: Settings, out: Path, **wanted: Any) -> Iterator[Listening]:
    """Run both, soon impatient, until they have what the tap sends first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "LOOK_SECONDS", 0.3)
        patch.setattr(lives, "_ASK_MS", 1000)
        patch.setattr(reader, "_ASK_MS", 1000)
        patch.setattr(publisher, "STALL_SECONDS", 0.5)
        patch.setattr(publisher, "WARN_SECONDS", 0.5)
        both = Listening(settings, out, Wanted(**wanted))
        both.start()
        try:
            both.send(10)
            wait_for(lambda: both.has(10))
            yield both
        finally:
            both.stop()
