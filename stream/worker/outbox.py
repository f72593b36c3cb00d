"""Sending what a micro-batch led to, and waiting until Kafka has it.

State rows go to the table's changelog first and into the local store when they are acknowledged,
through the same public call by which Faust restores a table. So the local store is always a prefix
of the changelog, never ahead of it, however the process ends: it need not be deleted after an
unclean stop, and restoring goes on from where it is. It also needs one write per partition instead
of one per row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.exceptions import FaustError

from gamekeeper.stream.kafka import Topics
from gamekeeper.stream.worker.changelog import record_key
from gamekeeper.stream.worker.dead_letters import DeadLetter
from gamekeeper.stream.worker.row_codec import Row


class _Written:
    """An acknowledged row, in the shape of a Faust event from the changelog."""

    __slots__ = ("key", "offset", "partition", "tp", "value")

    def __init__(self, row: Row, metadata: Any) -> None:
        self.partition, self.value = row.partition, row.value
        self.key = record_key(row.key, row.epoch)
        self.tp = metadata.topic_partition
        self.offset = metadata.offset

    @property
    def message(self) -> _Written:
        return self


class Outbox:
    """Writes to the service's topics; every method returns when the broker has acknowledged."""

    def __init__(self, app: Any, table: Any, topics: Topics) -> None:
        self._app = app
        self._table = table
        self._topics = topics
        self._since = 0.0

    def unanswered(self) -> float:
        """Say for how many seconds what was sent has been waiting for its acknowledgement."""
        return time.monotonic() - self._since if self._since else 0.0

    @contextmanager
    def _answered(self) -> Iterator[None]:
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = 0.0

    async def send_verdicts(self, verdicts: Iterable[tuple[bytes, bytes]]) -> None:
        """Send encoded verdicts, each with its account's key."""
        await self._send_all(self._topics.verdicts, verdicts)

    async def send_scores(self, scores: Iterable[tuple[bytes, bytes]]) -> None:
        """Send encoded scores, each with its account's key."""
        await self._send_all(self._topics.scores, scores)

    async def _send_all(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        with self._answered():
            await _settled([await self._send(topic, key, value) for key, value in records])

    async def send_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Send dead letters; one that is too large for the topic goes without its value."""
        topic = self._topics.dead_letters
        with self._answered():
            sent = await asyncio.gather(
                *[self._send_letter(topic, letter) for letter in letters], return_exceptions=True
            )
            for letter, result in zip(letters, sent, strict=True):
                if isinstance(result, BaseException):
                    if not _too_large(result):
                        raise result
                    await self._send_letter(topic, letter.without_value())

    async def _send_letter(self, topic: str, letter: DeadLetter) -> None:
        await (await self._send(topic, letter.key, letter.value, headers=letter.headers()))

    async def write(self, rows: Sequence[Row]) -> list[Any]:
        """Write rows to the changelog, in their order; what `keep` then takes."""
        topic = self._table.changelog_topic_name
        with self._answered():
            futures = [
                await self._send(topic, record_key(row.key, row.epoch), row.value, row.partition)
                for row in rows
            ]
            metadata = await _settled(futures)
        return [_Written(row, each) for row, each in zip(rows, metadata, strict=True)]

    def keep(self, written: Sequence[Any]) -> None:
        """Bring the local store to where the changelog is.

        The caller knows that nobody else has written to the changelog meanwhile: else the store
        would be ahead of what it has not read.
        """
        self._table.data.apply_changelog_batch(written, to_key=_same, to_value=_same)

    async def _send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> Any:
        return await self._app.producer.send(topic, key, value, partition, None, headers)


async def _settled(futures: Sequence[Any]) -> list[Any]:
    """Wait for all; raise the first error when none is left to come."""
    results = await asyncio.gather(*futures, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _too_large(error: BaseException) -> bool:
    """Say whether the client or the broker refused a record for its size."""
    cause = error.__cause__ if isinstance(error, FaustError) else error
    return isinstance(cause, KafkaError) and isinstance(cause, MessageSizeTooLargeError)


def _same(value: Any) -> Any:
    return value
