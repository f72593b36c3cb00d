"""aiokafka's coordinator: a worker's side of its consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata

from support.simulation.group import Given, Group
from support.simulation.network import Link

UNKNOWN = -1
"""The generation of who is no member."""


class Coordinator:
    """The member's side of the group."""

    def __init__(self, group: Group, link: Link) -> None:
        self.generation = UNKNOWN
        self.member = ""
        self.rejoin = asyncio.Event()
        self._group = group
        self._link = link

    async def _do_heartbeat(self) -> bool:
        answer = await self._link.tell(
            lambda m=self.member, g=self.generation: self._group.beat(m, g)
        )
        if answer == "ok":
            return True
        self.rejoin.set()
        if answer == "rebalancing":
            return True
        self.reset()
        return False

    def reset(self) -> None:
        """Note that this is no member any more."""
        self.generation, self.member = UNKNOWN, ""
        self.rejoin.set()

    async def join(self) -> Given:
        """Join, or join again, and wait for what is given."""
        self.member = self.member or self._group.name()
        given: Given = await self._link.ask(
            lambda answer, member=self.member: self._group.join(member, answer)
        )
        self.generation = given.generation
        self.rejoin.clear()
        return given

    async def fetch_committed_offsets(
        self, places: Collection[Any]
    ) -> Mapping[Any, OffsetAndMetadata]:
        """Ask what is committed."""
        committed = self._group.committed
        found: Mapping[Any, OffsetAndMetadata] = await self._link.tell(
            lambda: {place: committed[place] for place in places if place in committed}
        )
        return found

    async def commit(self, offsets: Mapping[Any, OffsetAndMetadata]) -> None:
        """Commit; raises `CommitFailedError` where this is no member of the generation."""
        done = await self._link.tell(
            lambda m=self.member, g=self.generation: self._group.commit(m, g, offsets)
        )
        if not done:
            self.reset()
            raise CommitFailedError("the group has already rebalanced")


async def beat(coordinator: Coordinator, seconds: float) -> None:
    """Send a heartbeat so often, also while the group changes, for as long as this is a member."""
    while True:
        await asyncio.sleep(seconds)
        if not coordinator.member:
            return
        await coordinator._do_heartbeat()
