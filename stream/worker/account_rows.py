"""Accounts as rows: what is written after a micro-batch, and how an account comes back from it.

Each account and model has one header row and, per detector and log, segment rows numbered from 0.
Keys are MessagePack arrays: `[account, model]` for the header, `[account, model, detector, log,
number]` for a segment. The header names the live range of each log; rows outside it do not count.

Rows go to the changelog partition of the account's events in this order: new segments, the header,
then deletions of segments that the detector has forgotten, and of the header that an earlier owner
of the partition wrote (see `changelog`). The changelog keeps that order, so what survives a crash
is a prefix of it:

* A header's segments were written before it, and are deleted only after a later header that does
  not need them. Every header that can survive finds all of its segments.
* Segments beyond the surviving header are leftovers of a batch that was not finished. Its events
  are delivered again, and the numbers are given out again.
* The header holds the last offset applied. Events up to it are not applied again. It says nothing
  about another topic's events, nor about those of another life of the topic: where the service has
  been told to read another one, or the topic was made anew, the account goes on from its state with
  the first of them.
"""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import msgspec

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.engine import Account, Key, Profile, Seen, Source, forgotten, seen
from gamekeeper.schemas.errors import StateError
from gamekeeper.stream.worker.changelog import Stored, Tenure
from gamekeeper.stream.worker.footprint import footprint

CODEC = 1
# Kafka's default limit of a record is 1 MiB; larger segments are cut into rows of this size.
MAX_ROW = 512 * 2**10
PLACE = 250
"""Bytes of an account's places in the dictionaries of the store and the engine, by tracemalloc."""
FEW = 16
"""Queries after which an account is weighed again: that takes as long as to score one or two."""

HEADERS = b"\x92"
"""What headers' keys, and no others, begin with: MessagePack's array of two."""

Get = Callable[[bytes], Stored | None]
"""Reads a row by its key; None where there is none."""


class Row(NamedTuple):
    """A row to be written, by the tenure of an epoch; a None value deletes the one it wrote."""

    kind: Literal["header", "segment", "delete", "life", "profile"]
    partition: int
    key: bytes
    value: bytes | None
    epoch: int


class _Range(msgspec.Struct, array_like=True):
    """The live rows of one log: numbers from `first` up to, not including, `next`.

    `setup` identifies the detector's options and network: what others made is of no use.
    """

    detector: str
    setup: str
    log: str
    first: int
    next: int

    def keys(self, key: Key) -> Iterator[bytes]:
        for number in range(self.first, self.next):
            yield _segment_key(key, self.detector, self.log, number)

    def leftovers(self, key: Key, get: Get) -> Iterator[tuple[bytes, int]]:
        """Find what a batch that was not finished has left beyond the range, and its epochs."""
        for number in itertools.count(self.next):
            row = _segment_key(key, self.detector, self.log, number)
            found = get(row)
            if found is None:
                return
            yield row, found.epoch


class _Header(msgspec.Struct, array_like=True):
    """The header row: `offset` is the last one of the source partition that was applied.

    `life` is the topic's, in which the offset counts; earlier builds knew of none.
    """

    codec: int
    topic: str
    partition: int
    offset: int
    ranges: list[_Range]
    account: bytes
    life: int = 0


class _Piece(msgspec.Struct, array_like=True):
    """A segment row; `more` says that the segment goes on in the next row."""

    end: int
    more: bool
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_key = msgspec.msgpack.Decoder(tuple[str, str]).decode
_decode_header = msgspec.msgpack.Decoder(_Header).decode
_decode_piece = msgspec.msgpack.Decoder(_Piece).decode


class _Log:
    """The live rows of one log in memory: row `first + i` ends at `ends[i]`, of `epochs[i]`."""

    __slots__ = ("ends", "epochs", "first")

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.ends: list[int] = []
        self.epochs: list[int] = []

    @property
    def next(self) -> int:
        return self.first + len(self.ends)


class Entry:
    """One hot account: its live state, and what of it is stored where.

    `bytes` is what it held in memory when it was last weighed, `profile` the hash of the one that
    judges it.
    """

    __slots__ = (
        "_logs",
        "_setups",
        "_tenure",
        "_useless",
        "_weigh_at",
        "_weighed",
        "_written",
        "account",
        "bytes",
        "key",
        "offset",
        "partition",
        "profile",
        "topic",
    )

    def __init__(self, key: Key, profile: Profile, source: Source, tenure: Tenure) -> None:
        self.key = key
        self._tenure = tenure
        self.account = Account(profile)
        self.profile = profile.hash
        self.topic = source.topic
        self.partition = source.partition
        self.offset = -1
        self.bytes = 0
        self._weighed = 0
        self._weigh_at = 0
        self._setups = {each.detector: _digest(profile.setup(each)) for each in profile.detectors}
        self._logs: dict[tuple[str, str], _Log] = {}
        self._useless: list[tuple[bytes, int]] = []
        self._written: int | None = None  # the epoch that the stored header is of

    def restore(self, stored: Stored, get: Get) -> None:
        """Take over the header row's account; `StateError` where the header cannot be read.

        A detector whose own rows cannot be read, or are not all there, begins anew, as `lost` of
        the account says. Rows of another partition are not this account's: another sequence of
        events made them.
        """
        self._written = stored.epoch
        try:
            header = _decode_header(stored.data)
            if header.codec != CODEC:
                raise StateError(f"row has codec {header.codec}; this version reads {CODEC}")
            if header.partition != self.partition:
                return
            self.account.load(header.account, list(self._segments(header.ranges, get)))
            for each in header.ranges:
                if each.detector in self.account.lost:
                    self._abandon(each, get)
        except (msgspec.MsgspecError, StateError) as error:
            raise StateError(f"account {self.key[0]!r}, model {self.key[1]!r}: {error}") from error
        if (header.topic, header.life) == (self.topic, self._tenure.life):
            self.offset = header.offset  # another one's offsets count something else

    def _segments(self, ranges: Iterable[_Range], get: Get) -> Iterator[tuple[str, Segment]]:
        """Read all live segments, noting where they are."""
        for each in ranges:
            if self._setups.get(each.detector) != each.setup:
                self._abandon(each, get)
                continue
            beyond = each.leftovers(self.key, get)
            self._useless.extend(left for left in beyond if left[1] != self._tenure.epoch)
            try:
                yield from ((each.detector, segment) for segment in self._read(each, get))
            except (msgspec.MsgspecError, StateError) as error:
                self.account.lost[each.detector] = f"{each.log}: {error}"

    def _abandon(self, each: _Range, get: Get) -> None:
        """Let the detector start afresh: numbers go on, so that new rows keep clear of these."""
        self._logs[each.detector, each.log] = _Log(each.next)
        found = ((row, get(row)) for row in each.keys(self.key))
        self._useless.extend((row, there.epoch) for row, there in found if there)

    def _read(self, each: _Range, get: Get) -> Iterator[Segment]:
        log = self._logs[each.detector, each.log] = _Log(each.first)
        data = b""
        for row in each.keys(self.key):
            stored = get(row)
            if stored is None:
                raise StateError(f"row {log.next} is missing")
            piece = _decode_piece(stored.data)
            log.ends.append(piece.end)
            log.epochs.append(stored.epoch)
            data += piece.data
            if not piece.more:
                yield Segment(each.log, piece.end, data)
                data = b""

    def rows(self) -> Iterator[Row]:
        """Give the rows that store all that changed since the last call, in their order."""
        partition, epoch = self.partition, self._tenure.epoch
        for detector, segment in self.account.drain():
            log = self._logs.setdefault((detector, segment.log), _Log())
            for piece in _pieces(segment):
                row_key = _segment_key(self.key, detector, segment.log, log.next)
                yield Row("segment", partition, row_key, _encode(piece), epoch)
                log.ends.append(segment.end)
                log.epochs.append(epoch)
        self._useless.extend(self._forgotten())
        header = header_key(self.key)
        if self._written not in (None, epoch):
            self._useless.append((header, self._written))
        self._written = epoch
        yield Row("header", partition, header, _encode(self._header()), epoch)
        for key, writer in self._useless:
            yield Row("delete", partition, key, None, writer)
        self._useless = []

    def weigh(self) -> None:
        """Measure what the account holds in memory, unless it has hardly changed since.

        Detectors keep what they know of a batch's rows until the next, for evidence: after many
        rows the next few change much.
        """
        queries = self.account.queries
        if queries >= self._weigh_at:
            fresh, self._weighed = queries - self._weighed, queries
            self.bytes = footprint(self) + PLACE
            self._weigh_at = queries + (1 if fresh > FEW else 1 + min(queries // 8, FEW))

    def _header(self) -> _Header:
        ranges = [
            _Range(detector, self._setups[detector], name, log.first, log.next)
            for (detector, name), log in self._logs.items()
            if detector in self._setups
        ]
        account = self.account.header()
        life = self._tenure.life
        return _Header(CODEC, self.topic, self.partition, self.offset, ranges, account, life)

    def _forgotten(self) -> Iterator[tuple[bytes, int]]:
        """Take forgotten rows out of the live ranges; give their keys and epochs."""
        for (detector, name), position in self.account.horizon().items():
            log = self._logs.get((detector, name))
            if log is None:
                continue
            count = bisect_right(log.ends, position)
            for number, epoch in enumerate(log.epochs[:count], log.first):
                yield _segment_key(self.key, detector, name, number), epoch
            del log.ends[:count], log.epochs[:count]
            log.first += count


def _segment_key(key: Key, detector: str, log: str, number: int) -> bytes:
    return _encode((*key, detector, log, number))


def _digest(setup: str) -> str:
    return hashlib.sha256(setup.encode()).hexdigest()[:8]


def _pieces(segment: Segment) -> Iterator[_Piece]:
    data = memoryview(segment.data)
    for start in range(0, max(len(data), 1), MAX_ROW):
        part = bytes(data[start : start + MAX_ROW])
        yield _Piece(segment.end, start + MAX_ROW < len(data), part)


def header_key(key: Key) -> bytes:
    """Give the key of an account's header row."""
    return _encode(key)


def key_of(header: bytes) -> Key:
    """Give the account that a header's key is of."""
    return _decode_key(header)


def seen_of(header: Stored) -> Seen:
    """Say what a header row tells of its account; raises `StateError`, or msgspec's errors."""
    return seen(_decode_header(header.data).account)


def deleted(key: bytes, header: Stored, get: Get, partition: int, epoch: int) -> Iterator[Row]:
    """Give the rows that delete an account, in their order.

    First a header that needs none of the account's segments, then their deletion, its own at last:
    wherever that ends, what is left is known, and goes when the account is next looked at, or seen.
    """
    saved = _decode_header(header.data)
    ranges = [msgspec.structs.replace(each, setup="") for each in saved.ranges]
    left = msgspec.structs.replace(saved, ranges=ranges, account=forgotten(saved.account))
    yield Row("header", partition, key, _encode(left), epoch)
    for each in saved.ranges:
        found = ((row, get(row)) for row in each.keys(key_of(key)))
        of_range = [(row, there.epoch) for row, there in found if there]
        for row, writer in [*of_range, *each.leftovers(key_of(key), get)]:
            yield Row("delete", partition, row, None, writer)
    for writer in sorted({header.epoch, epoch}):
        yield Row("delete", partition, key, None, writer)
