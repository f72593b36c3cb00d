"""Questions to the broker that are asked until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import Settings

log = structlog.get_logger("gamekeeper.stream")

ASK_AGAIN = 1.0  # seconds

T = TypeVar("T")


async def ask(settings: Settings, what: Callable[..., T], *about: Any) -> T:
    """Ask, in a thread, until the broker answers."""
    while True:
        try:
            return await asyncio.to_thread(what, settings, *about)
        except BrokerError as error:
            log.warning("waiting for the broker", error=str(error))
            await asyncio.sleep(ASK_AGAIN)
