"""How rows are named and encoded: headers and segments of accounts, in MessagePack.

See `account_rows` for what they mean together.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import msgspec

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.drift import Judged
from gamekeeper.detectors.engine import Key
from gamekeeper.stream.worker.changelog import Stored

CODEC = 1
# Kafka's default limit of a record is 1 MiB; larger segments are cut into rows of this size.
MAX_ROW = 512 * 2**10
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


class Range(msgspec.Struct, array_like=True):
    """The live rows of one log: numbers from `first` up to, not including, `next`.

    `setup` identifies the detector's options and network: what others made is of no use.
    """

    detector: str
    setup: str
    log: str
    first: int
    next: int

    def keys(self, key: Key) -> Iterator[bytes]:
        """Give the keys of an account's rows in the range."""
        for number in range(self.first, self.next):
            yield segment_key(key, self.detector, self.log, number)

    def leftovers(self, key: Key, get: Get) -> Iterator[tuple[bytes, int]]:
        """Find what a batch that was not finished has left beyond the range, and its epochs."""
        for number in itertools.count(self.next):
            row = segment_key(key, self.detector, self.log, number)
            found = get(row)
            if found is None:
                return
            yield row, found.epoch


class Noted(NamedTuple):
    """What an account has done since the profile of this hash began to judge it.

    `first` is the index of the first query that it judged, among all that the account sent.
    """

    profile: str
    first: int
    judged: Judged


class Header(msgspec.Struct, array_like=True):
    """The header row: `offset` is the last one of the source partition that was applied.

    `life` is the topic's, in which the offset counts; earlier builds knew of none. `noted` is None
    where the profile promises nothing, and of earlier builds.
    """

    codec: int
    topic: str
    partition: int
    offset: int
    ranges: list[Range]
    account: bytes
    life: int = 0
    noted: Noted | None = None


class Piece(msgspec.Struct, array_like=True):
    """A segment row; `more` says that the segment goes on in the next row."""

    end: int
    more: bool
    data: bytes


encode = msgspec.msgpack.Encoder().encode
decode_key = msgspec.msgpack.Decoder(tuple[str, str]).decode
decode_header = msgspec.msgpack.Decoder(Header).decode
decode_piece = msgspec.msgpack.Decoder(Piece).decode


def header_key(key: Key) -> bytes:
    """Give the key of an account's header row."""
    return encode(key)


def segment_key(key: Key, detector: str, log: str, number: int) -> bytes:
    """Give the key of a segment's row."""
    return encode((*key, detector, log, number))


def digest(setup: str) -> str:
    """Name a detector's options and network in a few letters."""
    return hashlib.sha256(setup.encode()).hexdigest()[:8]


def pieces(segment: Segment) -> Iterator[Piece]:
    """Cut a segment into what fits into a record."""
    data = memoryview(segment.data)
    for start in range(0, max(len(data), 1), MAX_ROW):
        part = bytes(data[start : start + MAX_ROW])
        yield Piece(segment.end, start + MAX_ROW < len(data), part)
