"""The lives of the queries topic: where reading begins after a restore.

A topic that was deleted and made anew, or that a mirror holds, has the name of the other one and
none of its offsets. A life is told by the topic's id; where a broker has none, or the log was cut
off (an unclean election), by a committed offset beyond the log's end. Its number is the epoch of
the tenure that first saw it, 0 where nothing is noted yet. It is a row of the changelog, under a
key that no account has, and each account's header names the life that its offset counts in.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

ROW: Final = b"life"
"""Key of the row; accounts' are MessagePack arrays."""

EXPIRED: Final = "records have expired before they were read; lengthen retention.ms"

_encode = msgspec.msgpack.Encoder().encode


class Life(msgspec.Struct, frozen=True, array_like=True):
    """A life of the topic: its number, and the topic's id, empty where the broker has none."""

    number: int = 0
    topic: str = ""


class Log(NamedTuple):
    """A partition of the topic as the broker has it: `committed` is None where nothing is."""

    topic: str
    committed: int | None
    first: int
    end: int


class Beginning(NamedTuple):
    """Where to read on, in which life, and what an operator has to be told, if anything."""

    life: Life
    offset: int
    told: str
    lost: int = 0


def begin(known: Life | None, log: Log, epoch: int) -> Beginning:
    """Decide where the tenure of an epoch reads on; `known` is the life that is noted.

    In the same life that is at the committed offset, or at the first one left where retention has
    passed it. In a new one it is at what is committed there, by a mirror or by an operator, else
    at the beginning; and where the log was cut off, at its end, since what is before was read.
    """
    before = known or Life()
    new = Life(epoch, log.topic)
    if before.topic and log.topic and before.topic != log.topic:
        if log.committed is None or log.committed > log.end:
            return Beginning(new, log.first, "the topic was made anew; reading from its beginning")
        at = max(log.committed, log.first)
        return Beginning(
            new, at, "the topic is another one; reading from what is committed", at - log.committed
        )
    same = Life(before.number, log.topic or before.topic)
    if log.committed is None:
        return Beginning(same, log.first, "")
    if log.committed > log.end:
        told = "the topic ends before what is committed; its log was cut off"
        return Beginning(new, log.end, told, log.committed - log.end)
    if log.committed < log.first:
        return Beginning(same, log.first, EXPIRED, log.first - log.committed)
    return Beginning(same, log.committed, "")


def encoded(life: Life) -> bytes:
    """Encode a life as a row's value."""
    return _encode(life)


def decoded(value: bytes | None) -> Life | None:
    """Decode a row's value."""
    return None if value is None else msgspec.msgpack.decode(value, type=Life)
