"""Waiting for Kafka before there is a worker: alive, not ready, and saying so."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from gamekeeper.schemas.errors import AbsentError
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.worker.health import Health
from gamekeeper.stream.worker.metrics import Metrics

log = structlog.get_logger("gamekeeper.stream")

QUIET_SECONDS = 2.0  # a broker that answers within these is not worth a word
SAY_SECONDS = 5.0
ASK_SECONDS = 0.5


def wait_for_kafka(settings: Settings, ask: Callable[[Settings], None]) -> None:
    """Ask until a broker answers; meanwhile serve health, and say every 5 s what is waited for.

    `ask` raises `AbsentError` where none does; what else it raises ends the waiting.
    """
    reason = "no answer yet"
    with _lobby(settings, lambda: reason):
        while True:
            try:
                return ask(settings)
            except AbsentError as error:
                reason = str(error)
                time.sleep(ASK_SECONDS)


@contextmanager
def _lobby(settings: Settings, reason: Callable[[], str]) -> Iterator[None]:
    """Be there meanwhile, in a thread: the main one asks, where a signal can interrupt it."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(_be_there(settings, reason))
    thread = threading.Thread(target=_run, args=(loop, task), name="gamekeeper-lobby", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def _run(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    with suppress(asyncio.CancelledError):
        loop.run_until_complete(task)


async def _be_there(settings: Settings, reason: Callable[[], str]) -> None:
    await asyncio.sleep(QUIET_SECONDS)
    health = Health(
        Metrics(),
        lambda: f"waiting for Kafka: {reason()}",
        settings.http_host,
        settings.http_port,
        loop=asyncio.get_running_loop(),
    )
    await health.start()
    try:
        while True:
            log.warning("waiting for Kafka", reason=reason())
            await asyncio.sleep(SAY_SECONDS)
    finally:
        await health.stop()
        log.info("no longer waiting for Kafka")
