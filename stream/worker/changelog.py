"""The changelog's records: rows that name their writer, and what is left aside in a restore.

A worker that is cut off in the middle of a save, by its network or by SIGSTOP, may be given up for
dead: another one takes its partitions over, restores them and goes on, and then the rest of the
first one's rows arrives. In the changelog it lies behind the successor's rows, and would win.

So each ownership of a partition, a **tenure**, has a number, its epoch, and each row has that of
its writer. Whoever takes a partition over first writes a *mark*, whose offset makes the epoch;
then it asks the broker whether the partition is still its own; if so it writes a *fence* with the
epoch. A worker that was the owner when its mark was in place wrote it before any successor did,
so epochs rise from owner to owner, whatever arrives how late. A restore, which reads the changelog
in order, leaves rows aside that come after a later tenure's fence.

The epoch is part of the record's key, so that compaction never lets a late row take the place of
a good one. A row's deletion is a tombstone of the key that it was written under: it deletes that
row, and none that a successor has written since. It is sent when the header that does without the
row is known to lie before any successor's mark, so that it does no harm however late it comes.

A mark is `b"end"`, a fence `b"fence"` with an epoch as its value; a row's key is MessagePack's
`[epoch, key]`. Rows of builds before this have plain keys, which are arrays of names, and epoch 0.
The local store keeps a row under its plain key as `[epoch, value]`, and the latest fence as
`[epoch, offset]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec
import structlog

log = structlog.get_logger("gamekeeper.stream")

MARK: Final = b"end"
FENCE: Final = b"fence"
FIRST: Final = 1
"""The least epoch; 0 is that of rows without one."""

_encode = msgspec.msgpack.Encoder().encode


class Tenure(NamedTuple):
    """A worker's ownership of a partition: its epoch, and the topic's life that it reads."""

    epoch: int
    life: int


class Stored(NamedTuple):
    """A row in the local store: who wrote it, and what."""

    epoch: int
    data: bytes


_decode = msgspec.msgpack.Decoder(tuple[int, bytes]).decode

Read = Callable[[int, bytes], bytes | None]
"""Reads what the local store holds, by partition and key."""


class Change(NamedTuple):
    """What a record of the changelog does to the local store, in the shape of a Faust event.

    A value of None deletes.
    """

    tp: Any
    partition: int
    offset: int
    key: bytes
    value: bytes | None

    @property
    def message(self) -> Change:
        """Give itself: a store looks for the record there."""
        return self


def record_key(key: bytes, epoch: int) -> bytes:
    """Give the key of the record that holds a row."""
    return _encode((epoch, key)) if epoch else key


def row_of(key: bytes) -> tuple[int, bytes]:
    """Give a record's epoch and its row's key.

    >>> row_of(record_key(b"a row", 7)), row_of(b"a row")
    ((7, b'a row'), (0, b'a row'))
    """
    try:
        return _decode(key)
    except msgspec.MsgspecError:
        return 0, key


def stored(value: bytes | None) -> Stored | None:
    """Read what the local store holds under a row's key; a row of an earlier build has epoch 0."""
    if value is None:
        return None
    try:
        return Stored(*_decode(value))
    except msgspec.MsgspecError:
        return Stored(0, value)


def epoch_of(mark: int) -> int:
    """Give the epoch that a mark at an offset makes."""
    return mark + FIRST


def fence(epoch: int) -> bytes:
    """Encode a fence's value."""
    return _encode(epoch)


def changes(records: Iterable[Any], read: Read) -> Iterator[Change]:
    """Say what records of the changelog, in its order, do to what `read` reads.

    One change for each record, so that the local store knows how far it has come; a record that
    is left aside writes the latest fence again.
    """
    late, seen = 0, _Seen(read)
    for each in records:
        message = each.message
        seen.partition = message.partition
        latest = _latest(seen.get(FENCE), message.offset)
        key, value = _effect(message, latest.epoch, seen.get)
        if key is None:
            late += message.value is not None and message.key != MARK
            key, value = FENCE, _encode(latest)
        seen.put(key, value)
        yield Change(message.tp, message.partition, message.offset, key, value)
    if late:
        log.warning("rows that an earlier owner wrote too late were left aside", rows=late)


class _Seen:
    """What a local store will hold once the changes so far are made, one partition at a time."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._changed: dict[tuple[int, bytes], bytes | None] = {}
        self.partition = 0

    def get(self, key: bytes) -> bytes | None:
        place = self.partition, key
        return self._changed[place] if place in self._changed else self._read(*place)

    def put(self, key: bytes, value: bytes | None) -> None:
        self._changed[self.partition, key] = value


class _Fence(msgspec.Struct, array_like=True):
    """The latest fence in a local store: its epoch, and where in the changelog it is."""

    epoch: int = 0
    offset: int = -1


_decode_fence = msgspec.msgpack.Decoder(_Fence).decode


def _latest(value: bytes | None, offset: int) -> _Fence:
    """Read the fence that counts at an offset of the changelog.

    One that comes later does not: Faust reads the changelog again from an earlier place where it
    has forgotten how far it had come.
    """
    found = _decode_fence(value) if value else _Fence()
    return found if found.offset <= offset else _Fence()


def _effect(
    message: Any, latest: int, known: Callable[[bytes], bytes | None]
) -> tuple[bytes | None, bytes | None]:
    """Give the key and the value to be written; no key where a record is left aside."""
    key, value = message.key, message.value
    if key == MARK:
        return None, None
    if key == FENCE:
        epoch = msgspec.msgpack.decode(value, type=int)
        place = _encode(_Fence(epoch, message.offset))
        return (FENCE, place) if epoch >= latest else (None, None)
    epoch, row = row_of(key)
    there = stored(known(row))
    if value is None:
        return (row, None) if there is not None and there.epoch == epoch else (None, None)
    if epoch < latest or (there is not None and epoch < there.epoch):
        return None, None
    return row, _encode((epoch, value))
