"""Faust's restoring of tables, made to end in one way only: everything is restored.

Faust gives a step of it a minute. Where one takes longer, as while brokers are frozen, Faust takes
that for its own stop: nothing is restored any more, for as long as the process lives, and nobody
hears of it. Here a step has the time it takes; what is written or sought in it has its own limits,
and to miss them ends the worker, which its supervisor starts again.

Faust tells itself once that all is read, and forgets it when nobody waits for it yet. Here it is
remembered.

Faust goes on with a restore whose partitions are being let go, and at its end lets records come, in
the middle of the change. Here it ends without a word: the next assignment restores again.

Faust waits a second before the first restore, for agents that are still to be started. Here the
only one has been started by then.

It touches private names of Faust's: a test of each of these fails when they change.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from faust.tables import manager, recovery


class Recovery(recovery.Recovery):  # type: ignore[misc]  # Faust is not followed by mypy
    """Restores tables from their changelogs, however long that takes."""

    _let_go = False
    _signal_recovery_end: asyncio.Event | None = None

    @property
    def signal_recovery_end(self) -> asyncio.Event:
        """The event that tells that all is read."""
        if self._signal_recovery_end is None:
            self._signal_recovery_end = _Read(self)
        return self._signal_recovery_end

    def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Let go of what is being restored, if anything is."""
        self._let_go = True
        super().on_partitions_revoked(revoked)

    async def on_rebalance(self, *assignment: Any) -> None:
        """Restore what is assigned now."""
        self._let_go = False
        await super().on_rebalance(*assignment)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Let records come, if the partitions are still there."""
        if not self._let_go:
            await super().on_recovery_completed(generation_id)

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        await super()._wait(coro)


class _Read(asyncio.Event):
    """Set when all is read; to who asks later, too."""

    def __init__(self, restoring: Recovery) -> None:
        self._restoring = restoring
        super().__init__()

    async def wait(self) -> Literal[True]:
        """Wait until all is read."""
        return await super().wait() if self._restoring.in_recovery else True


class TableManager(manager.TableManager):  # type: ignore[misc]  # as Faust is
    """Faust's tables, restored like that."""

    _recovery: Recovery | None = None

    async def on_start(self) -> None:
        """Begin at once."""
        await self._update_channels()
        await self.recovery.start()

    @property
    def recovery(self) -> Recovery:
        """The service that restores them."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
