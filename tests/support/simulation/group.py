"""A consumer group's coordinator, as Kafka's: members, generations, sessions, committed offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aiokafka.structs import OffsetAndMetadata

from support.simulation.clock import World

Answer = Callable[[Any], None]


class Given(NamedTuple):
    """What a member is given: partitions to work on, in a generation."""

    generation: int
    actives: tuple[int, ...]


class Group:
    """One group over `partitions`; a member is a name that its process has drawn."""

    def __init__(self, world: World, partitions: int, session: float, rebalance: float) -> None:
        self.generation = self._named = 0
        self.committed: dict[Any, OffsetAndMetadata] = {}
        self.on_commit: Callable[[Any, int, str], None] = lambda place, offset, life: None
        self._world = world
        self._partitions = partitions
        self._session = session
        self._rebalance = rebalance
        self._heard: dict[str, float] = {}
        self._joined: dict[str, Answer] = {}
        self._owners: dict[int, str] = {}
        self._ends: float | None = None  # of the rebalance that is going on

    def name(self) -> str:
        """Name a new member, so that names sort by age."""
        self._named += 1
        return f"member-{self._named:06}"

    def join(self, member: str, answer: Answer) -> None:
        """Enter, or enter again; the answer comes when all have, or are given up."""
        self._heard[member] = self._world.now
        self._joined[member] = answer
        self._begin()
        self._try()

    def leave(self, member: str) -> None:
        """Go."""
        if self._heard.pop(member, None) is not None:
            self._joined.pop(member, None)
            self._begin()
            self._try()

    def beat(self, member: str, generation: int) -> str:
        """Hear a heartbeat: `ok`, `rebalancing`, `unknown` or `illegal`."""
        if member not in self._heard:
            return "unknown"
        if generation != self.generation:
            return "illegal"
        self._heard[member] = self._world.now
        self._world.after(self._session + 1e-6, self._expire)
        return "ok" if self._ends is None else "rebalancing"

    def commit(
        self, member: str, generation: int, offsets: Mapping[Any, OffsetAndMetadata]
    ) -> bool:
        """Take offsets from a member of this generation."""
        if member not in self._heard or generation != self.generation:
            return False
        for place, offset in offsets.items():
            self.on_commit(place, offset.offset, offset.metadata)
        self.committed.update(offsets)
        return True

    def _begin(self) -> None:
        if self._ends is None:
            self._ends = self._world.now + self._rebalance
            self._world.after(self._rebalance + 1e-6, self._expire)

    def _expire(self) -> None:
        """Give up members that were not heard of, or that do not join in time."""
        now = self._world.now
        silent = {
            member
            for member, heard in self._heard.items()
            if member not in self._joined and now - heard >= self._session
        }
        if self._ends is not None and now >= self._ends:
            silent |= self._heard.keys() - self._joined.keys()
        for member in sorted(silent):
            del self._heard[member]
        if silent:
            self._begin()
        self._try()

    def _try(self) -> None:
        """End the rebalance if nobody is missing."""
        if self._ends is None or self._heard.keys() != self._joined.keys():
            return
        self._ends = None
        if not self._heard:
            return
        self.generation += 1
        joined, self._joined = self._joined, {}
        self._share(sorted(joined))
        for member, answer in joined.items():
            self._heard[member] = self._world.now
            answer(self._given(member))
        self._world.after(self._session + 1e-6, self._expire)

    def _share(self, members: list[str]) -> None:
        """Draw owners; often they stay who they were."""
        chance = self._world.chance
        stays = chance.random() < 0.5
        for partition in range(self._partitions):
            owner = self._owners.get(partition)
            if owner not in members or not stays:
                self._owners[partition] = chance.choice(members)

    def _given(self, member: str) -> Given:
        actives = tuple(p for p, owner in self._owners.items() if owner == member)
        return Given(self.generation, actives)
