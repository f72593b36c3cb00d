"""A trace that is played while its broker is frozen or killed: nothing is lost, nothing unsaid."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gamekeeper.replay.traces import Manner, Played, play
from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import EmbeddedBroker, LoopbackBroker, Settings, admin, apply
from support.brokers import Broker, Names, kinds
from support.traces import events, write_trace
from support.workers import prepare, read, wait_for

pytestmark = pytest.mark.broker
EVENTS, FIRST = 120, 20


class Playing:
    """A trace that is played in a thread, and stands still after its first events."""

    def __init__(self, settings: Settings, trace: Path) -> None:
        """Prepare it."""
        self.said: list[str] = []
        self.played = Played()
        self.go_on = threading.Event()
        self._what = settings, settings.topics.queries, [trace], Manner(speed=1e9)

    def __call__(self) -> Played:
        """Play."""
        return play(*self._what, advance=self._advance, said=self.said.append)

    def _advance(self, played: Played) -> None:
        self.played = played
        if played.events == FIRST:
            self.go_on.wait()

    def waits(self) -> bool:
        """Say whether it has said that it waits."""
        return any(each.startswith("waiting: no broker at ") for each in self.said)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "killed"])
def test_a_broker_that_is_away_is_waited_for(
    own_broker: LoopbackBroker, names: Names, tmp_path: Path, frozen: bool
) -> None:
    """Playing says that it waits, and goes on; every event is there once.

    The embedded broker comes back from a kill without the topic: then it ends, and says so.
    """
    settings = prepare({**names.environ, "KAFKA_BOOTSTRAP_SERVERS": own_broker.address})
    it = Playing(settings, write_trace(tmp_path / "a.parquet", events()))
    with ThreadPoolExecutor(1) as pool:
        try:
            done = pool.submit(it)
            wait_for(lambda: it.played.acknowledged == FIRST)
            assert own_broker.pid is not None
            if frozen:
                os.kill(own_broker.pid, signal.SIGSTOP)
            else:
                own_broker.kill()
            it.go_on.set()
            wait_for(it.waits)
            if frozen:
                os.kill(own_broker.pid, signal.SIGCONT)
            else:
                own_broker.start()
            if isinstance(own_broker, EmbeddedBroker) and not frozen:
                with pytest.raises(BrokerError, match="play on after 20 acknowledged events"):
                    done.result(180)
                return
            assert done.result(180).acknowledged == EVENTS
        finally:
            it.go_on.set()
    assert len(read(settings, settings.topics.queries)) == EVENTS


@pytest.mark.parametrize("broker", [each for each in kinds() if each != "embedded"], indirect=True)
def test_a_topic_that_is_deleted_is_waited_for(
    broker: Broker, names: Names, tmp_path: Path
) -> None:
    """Playing says that nothing is taken, and goes on where the topic is made anew.

    The embedded broker makes a deleted topic again by itself.
    """
    settings = prepare({**names.environ, "KAFKA_BOOTSTRAP_SERVERS": broker.address})
    it = Playing(settings, write_trace(tmp_path / "a.parquet", events()))
    with ThreadPoolExecutor(1) as pool:
        try:
            done = pool.submit(it)
            wait_for(lambda: it.played.acknowledged == FIRST)
            with admin(settings) as client:
                client.delete_topics([settings.topics.queries])
            it.go_on.set()
            wait_for(it.waits)
            apply(settings)
            assert done.result(180).acknowledged == EVENTS
        finally:
            it.go_on.set()
    assert len(read(settings, settings.topics.queries)) == EVENTS - FIRST
