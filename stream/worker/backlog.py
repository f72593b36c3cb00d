"""The records that were passed over: of each account its offsets, in their order, and no more.

An offset takes 8 bytes here, so that a million of them are nothing beside what they stand for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

Key = bytes | None

_PARTITION_BITS: Final = 20
_MOST_PARTITIONS: Final = 1 << _PARTITION_BITS
_COMPACT_AFTER: Final = 1024


class Place(NamedTuple):
    """Where a record lies on the queries topic."""

    partition: int
    offset: int


class _Places:
    """Places in a line: put in behind, taken from the front, 8 bytes each."""

    def __init__(self) -> None:
        self._packed = array("q")
        self._begin = 0

    def __len__(self) -> int:
        return len(self._packed) - self._begin

    def put(self, place: Place) -> None:
        self._packed.append(place.offset << _PARTITION_BITS | place.partition)

    def __iter__(self) -> Iterator[Place]:
        for at in range(self._begin, len(self._packed)):
            packed = self._packed[at]
            yield Place(packed & _MOST_PARTITIONS - 1, packed >> _PARTITION_BITS)

    def pop(self) -> None:
        self._begin += 1
        if self._begin > max(_COMPACT_AFTER, len(self)):
            del self._packed[: self._begin]
            self._begin = 0


class Backlog:
    """The records of accounts that have sent more than their share; `records` counts them."""

    def __init__(self) -> None:
        self._places: dict[Key, _Places] = {}
        self.records = 0

    def __contains__(self, key: Key) -> bool:
        """Say whether records of a key were passed over: then those after them are, too."""
        return key in self._places

    def __len__(self) -> int:
        """Count the keys."""
        return len(self._places)

    def __iter__(self) -> Iterator[Key]:
        """Go through the keys; who had been passed over first comes first."""
        return iter(self._places)

    def put(self, key: Key, place: Place) -> None:
        """Note a record behind the key's others."""
        self._places.setdefault(key, _Places()).put(place)
        self.records += 1

    def first(self, key: Key, count: int) -> list[Place]:
        """Give the places of the key's next records on one partition, at most so many."""
        found: list[Place] = []
        for place in self._places.get(key, ()):
            if len(found) == count or (found and place.partition != found[0].partition):
                break
            found.append(place)
        return found

    def pop(self, key: Key) -> None:
        """Strike the key's next record off."""
        places = self._places[key]
        places.pop()
        self.records -= 1
        if not places:
            del self._places[key]

    def clear(self) -> None:
        """Forget all."""
        self._places.clear()
        self.records = 0
