"""Making safe what records have led to, before they are acknowledged.

Verdicts, scores and dead letters are sent and acknowledged first, then the accounts' rows, headers
after all that they count on; and nothing without knowing that the partitions are still this
worker's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from gamekeeper.schemas.event import QueryEvent, event_key
from gamekeeper.schemas.scores import encode_scores
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.worker.dead_letters import DeadLetter
from gamekeeper.stream.worker.outbox import Outbox
from gamekeeper.stream.worker.row_codec import Row
from gamekeeper.stream.worker.scoring import Scored


class LostPartitionsError(Exception):
    """The batch's partitions changed hands while it was worked on; its events come again."""


class Settling:
    """Writes what is to be safe; `generation` is the group's, in which records were delivered."""

    def __init__(self, app: Any, outbox: Outbox, settings: Settings) -> None:
        self._app = app
        self._outbox = outbox
        self._settings = settings
        self._held_until = 0.0

    def clear(self) -> None:
        """Hold no partitions."""
        self._held_until = 0.0

    async def settle(self, events: Sequence[Any], scored: Scored, generation: int) -> None:
        """Make safe what events have led to, and acknowledge them."""
        await self._hold(generation)
        await self._tell(scored)
        await self._hold(generation)
        await self._save(scored.rows, generation)
        for event in events:
            event.ack()

    async def note(
        self, letters: Sequence[DeadLetter], rows: Sequence[Row], generation: int
    ) -> None:
        """Make safe rows that are of no account, and dead letters."""
        await self._hold(generation)
        await self._outbox.send_letters(letters)
        written = await self._outbox.write(rows)
        await self._hold(generation)
        self._outbox.keep(written)

    async def delete(self, rows: list[Row], generation: int) -> None:
        """Delete what is stored of accounts."""
        await self._hold(generation)
        await self._save(rows, generation)

    async def _save(self, rows: list[Row], generation: int) -> None:
        """Write rows, headers once all that they count on is known to be there, deletions last.

        A client that gives one batch of records up, after long trying, goes on with the next.
        A worker whose partitions went to another one meanwhile may have written too late: what it
        then wrote is left aside when state is restored. It must not have it in its own store, nor
        delete what a header before that still needs.
        """
        for kind in ("segment", "header", "delete"):
            part = [row for row in rows if row.kind == kind]
            if not part:
                continue
            written = await self._outbox.write(part)
            await self._hold(generation)
            self._outbox.keep(written)

    async def _hold(self, generation: int) -> None:
        """Raise `LostPartitionsError` unless the partitions are still this worker's.

        That this worker has heard of nothing else is not enough, as it may have been stopped for
        longer than its session. From the moment it asked, the broker gives them to no other for a
        session, or for as long as it waits for members where the group changes; of that, half is
        left for the writes that follow.
        """
        now = time.monotonic()
        if self._app.consumer_generation_id == generation:
            if now < self._held_until:
                return
            if await self._app.consumer.owns(generation):
                settings = self._settings
                sure = min(settings.session_timeout, settings.rebalance_timeout)
                self._held_until = now + sure / 2
                return
        self._held_until = 0.0
        raise LostPartitionsError

    async def _tell(self, scored: Scored) -> None:
        if scored.verdicts:
            await self._outbox.send_verdicts(scored.verdicts)
        if scored.letters:
            await self._outbox.send_letters(scored.letters)
        if self._settings.scores and scored.outcomes:
            await self._outbox.send_scores(
                (event_key(event.account), encode_scores(event, outcome.first, outcome.statistics))
                for outcome in scored.outcomes
                if outcome.statistics and isinstance(event := outcome.arrival.event, QueryEvent)
            )
