"""Which profile rules which of a partition's events: those after the order that names it.

An order's place is its offset, so that every worker decides alike, whenever it comes to an event
and however often. What was decided is a row of the changelog, under a key that no account has; it
is written before an order is acknowledged, and an order that comes again is not decided again. Of
the points at which profiles changed, it keeps those that events may still be ruled by.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import msgspec

ROW: Final = b"profile"
"""Key of the row; accounts' are MessagePack arrays."""
BEGINNING: Final = -1

_encode = msgspec.msgpack.Encoder().encode


class Point(msgspec.Struct, frozen=True, array_like=True):
    """Where in a partition a profile, named by its hash, begins to rule: after an offset."""

    offset: int
    profile: str


class Rulings(msgspec.Struct, frozen=True, array_like=True):
    """The profiles of a partition, oldest first, in a life of the topic (see `lives`).

    `decided` is the offset of the last order that was taken or refused.
    """

    life: int
    points: tuple[Point, ...]
    decided: int = BEGINNING

    def at(self, offset: int) -> Point:
        """Give what rules the event at an offset; of what is forgotten, the oldest that is not."""
        after = bisect_left(self.points, offset, key=lambda point: point.offset)
        return self.points[max(0, after - 1)]

    @property
    def latest(self) -> str:
        """The profile that rules what comes from now on."""
        return self.points[-1].profile

    def take(self, offset: int, profile: str) -> Rulings:
        """Let a profile rule what follows an order; one that rules already goes on."""
        new = () if profile == self.latest else (Point(offset, profile),)
        return Rulings(self.life, self.points + new, offset)

    def refuse(self, offset: int) -> Rulings:
        """Decide that an order changes nothing."""
        return Rulings(self.life, self.points, offset)

    def since(self, life: int, offset: int) -> Rulings:
        """Forget what rules none of the events from an offset on, in a life of the topic.

        Offsets of another life say nothing there: the last profile rules from its beginning.
        """
        if life != self.life:
            return ruled_by(self.latest, life)
        first = bisect_left(self.points, offset, key=lambda point: point.offset)
        return Rulings(life, self.points[max(0, first - 1) :], self.decided)


def ruled_by(profile: str, life: int) -> Rulings:
    """Let one profile rule all of a partition."""
    return Rulings(life, (Point(BEGINNING, profile),))


def encoded(rulings: Rulings) -> bytes:
    """Encode rulings as a row's value."""
    return _encode(rulings)


def decoded(value: bytes | None) -> Rulings | None:
    """Decode a row's value."""
    return None if value is None else msgspec.msgpack.decode(value, type=Rulings)
