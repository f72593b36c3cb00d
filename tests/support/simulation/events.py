"""Faust's events, and the stream that an agent reads them from."""

from __future__ import annotations

import asyncio
from typing import Any


class Event:
    """An event of the stream."""

    __slots__ = ("__weakref__", "_consumer", "key", "message", "value")

    def __init__(self, message: Any, consumer: Any) -> None:
        self.message, self._consumer = message, consumer
        self.key, self.value = message.key, message.value

    def ack(self) -> None:
        """Say that it is done."""
        self.message.ack(self._consumer)


class Stream:
    """The agent's stream."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()

    def noack(self) -> Stream:
        """Give itself: nothing is acknowledged by itself."""
        return self

    def events(self) -> Stream:
        """Give itself."""
        return self

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Event:
        return await self.queue.get()

    def clear(self) -> None:
        """Forget what was not taken."""
        while not self.queue.empty():
            self.queue.get_nowait()
