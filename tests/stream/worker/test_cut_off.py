"""Workers that are cut off for longer than their session write nothing that counts afterwards."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gamekeeper.schemas.event import decode_event, encode_event
from gamekeeper.schemas.tensor import Tensor
from support.brokers import Broker, Names
from support.crashing import make_trace
from support.online import alarming, expected, found
from support.workers import SERVE, Worker, all_applied, prepare, send, wait_for

pytestmark = pytest.mark.broker

STOPPED = """
import os, signal
from gamekeeper.stream.worker.settling import Settling
tell = Settling._tell
calls = []
async def stop(self, scored):
    await tell(self, scored)
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGSTOP)
Settling._tell = stop
"""
STALLED = """
import os, signal
from gamekeeper.stream.worker.outbox import Outbox
write = Outbox.write
calls = []
async def stall(self, rows):
    calls.extend(row for row in rows[-1:] if row.kind == "header")
    if len(calls) != 5 or rows[-1] is not calls[-1]:
        return await write(self, rows)
    cut = len(rows) {cut}
    written = await write(self, rows[:cut])
    os.kill(os.getpid(), signal.SIGSTOP)
    return written + await write(self, rows[cut:])
Outbox.write = stall
"""


@pytest.fixture
def environ(broker: Broker, names: Names, tmp_path: Path) -> dict[str, str]:
    """A worker's environment with the test's own topics, and a profile that alarms often."""
    return alarming(broker, names, tmp_path)


def test_a_worker_that_was_stopped_writes_nothing_late(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """A worker that wakes after another took over leaves the changelog to it, and joins again."""
    environ["GAMEKEEPER_BATCH_EVENTS"] = "50"
    settings = prepare(environ)
    trace = make_trace(2400)
    send(settings, trace[: len(trace) // 2])
    second, third = (
        {**environ, "GAMEKEEPER_DATA_DIR": str(tmp_path / name)} for name in ("second", "third")
    )
    with Worker(environ, [sys.executable, "-c", STOPPED + SERVE]) as sleeper:
        wait_for(sleeper.stopped)
        with Worker(second) as heir:
            wait_for(lambda: all_applied(settings))
            sleeper.wake()
            wait_for(lambda: "changed hands" in sleeper.logged())
            wait_for(lambda: sleeper.ready() and heir.ready())
    send(settings, trace[len(trace) // 2 :])
    with Worker(third):
        wait_for(lambda: all_applied(settings))
    assert found(settings) == expected(settings)


@pytest.mark.parametrize(
    ("cut", "rows"), [("// 2", 1), ("- 1", 1), ("- 1", 1500)], ids=["half", "header", "large"]
)
def test_what_is_left_of_a_save_may_come_late(
    environ: dict[str, str], tmp_path: Path, cut: str, rows: int
) -> None:
    """A worker is cut off in a save; its other rows land behind its successor's, and count not."""
    environ["GAMEKEEPER_BATCH_EVENTS"] = "50"
    settings = prepare(environ)
    trace = make_trace(1200)
    large = [(key, _widened(value, rows)) for key, value in trace[300:303]]
    trace[300:303] = trace[300:303] if rows == 1 else large
    half = len(trace) // 2
    send(settings, trace[:half])
    second, third = (
        {**environ, "GAMEKEEPER_DATA_DIR": str(tmp_path / name)} for name in ("second", "third")
    )
    stalled = STALLED.format(cut=cut)
    with Worker(environ, [sys.executable, "-c", stalled + SERVE]) as sleeper:
        wait_for(sleeper.stopped)
        with Worker(second) as heir:
            wait_for(lambda: all_applied(settings))
            sleeper.wake()
            wait_for(lambda: "changed hands" in sleeper.logged())
            wait_for(lambda: sleeper.ready() and heir.ready())
    with Worker(third) as restored:
        wait_for(restored.ready)
        assert "too late were left aside" in restored.logged()
        send(settings, trace[half:])
        wait_for(lambda: all_applied(settings))
    assert found(settings) == expected(settings)


def _widened(value: bytes | None, rows: int) -> bytes:
    """Give an event many rows, which are segments of the state."""
    event = decode_event(value or b"")
    inputs = np.random.default_rng(0).gamma(0.5, size=(rows, 16)).astype(np.float32)
    labels = [number % 3 for number in range(rows)]
    return encode_event(
        msgspec.structs.replace(event, inputs=Tensor.from_array(inputs), labels=labels)
    )
