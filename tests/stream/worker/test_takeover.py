"""A worker that takes partitions over has all of their state, whatever it had of it before."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.brokers import Broker, Names
from support.crashing import make_trace
from support.online import alarming, expected, found
from support.workers import SERVE, Worker, all_applied, prepare, send, wait_for

pytestmark = pytest.mark.broker

# Run first, it makes a worker slow at following the changelogs of partitions that are another's,
# if it does: what it has read of them waits in Faust's queue when its own partitions are restored,
# which is when Faust empties that.
SLOW = """
import asyncio
from faust.tables.base import Collection
from faust.tables.recovery import Recovery
restored = asyncio.Event()
complete = Recovery.on_recovery_completed
async def wait(self, event):
    if event.message.tp in self.app.tables.recovery.standby_tps:
        await restored.wait()
async def late(self, generation_id=0):
    while self.standby_tps and self.tables.changelog_queue.qsize() < 10:
        await asyncio.sleep(0.01)
    await complete(self, generation_id)
    restored.set()
Collection.on_changelog_event = wait
Recovery.on_recovery_completed = late
"""

# Faust's limits for the steps of a restore, far shorter than what this broker needs for one.
IMPATIENT = """
import asyncio
from faust.tables.recovery import Recovery
from gamekeeper.stream.worker.consumer import Consumer
wait, ends = Recovery._wait, Consumer.highwaters
async def brief(self, coro, timeout=None):
    await wait(self, coro, timeout and 0.5)
async def slow(self, *partitions):
    await asyncio.sleep(2)
    return await ends(self, *partitions)
Recovery._wait, Consumer.highwaters = brief, slow
"""
# All is read before Faust waits for that.
EARLY = """
import asyncio
from faust.transport.consumer import Fetcher
start = Fetcher.maybe_start
async def late(self):
    started = await start(self)
    while self.app.tables.recovery.in_recovery:
        await asyncio.sleep(0.01)
    return started
Fetcher.maybe_start = late
"""


@pytest.mark.parametrize("prelude", [IMPATIENT, EARLY], ids=["slow", "early"])
def test_no_restore_is_given_up(prelude: str, broker: Broker, names: Names, tmp_path: Path) -> None:
    """A worker whose restore takes long, or is over sooner than looked for, becomes ready."""
    environ = alarming(broker, names, tmp_path)
    prepare(environ)
    with Worker(environ, [sys.executable, "-c", prelude + SERVE]) as worker:
        wait_for(worker.ready, 30)


def test_what_was_there_before_is_whole(broker: Broker, names: Names, tmp_path: Path) -> None:
    """No row is missing in a worker that was there, with other partitions, when its peer died."""
    environ = alarming(broker, names, tmp_path)
    second = {**environ, "GAMEKEEPER_DATA_DIR": str(tmp_path / "second")}
    settings = prepare(environ)
    trace = make_trace(1000)
    cut, kill = len(trace) // 2, len(trace) // 2 + 40
    with Worker(environ) as first:
        send(settings, trace[:cut])
        wait_for(lambda: all_applied(settings))
        with Worker(second, [sys.executable, "-c", SLOW + SERVE]) as heir:
            wait_for(lambda: first.ready() and heir.ready())
            send(settings, trace[cut:kill])
            wait_for(lambda: all_applied(settings))
            first.kill()
            send(settings, trace[kill:])
            wait_for(lambda: all_applied(settings))
            assert "begins anew" not in heir.logged()
    assert found(settings) == expected(settings)
