"""How members of the growing set are stored: an append-only log of self-contained items."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Segment
from gamekeeper.schemas.errors import StateError

LOG = "growths"
SEGMENT_BYTES = 256 * 1024

Key = tuple[int, int]
"""A class and the number of values in a row."""

_HEAD = struct.Struct("<qqdd3sxII")  # class, query, distance, T_c after, dtype, values, bytes


class Item(NamedTuple):
    """One member: its row in its own type, and its class's T_c once it had joined."""

    key: Key
    query: int
    distance: float
    threshold: float
    row: NDArray[Any]
    size: int


class Encoder:
    """Encodes some of `(n, d)` rows as items."""

    def __init__(self, rows: NDArray[Any]) -> None:
        """Bring the rows into the log's byte order."""
        self._rows = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
        self._code = rows.dtype.str[1:].encode()

    def __call__(self, row: int, key: Key, query: int, distance: float, threshold: float) -> bytes:
        """Encode one of the rows."""
        data: bytes = self._rows[row].tobytes()
        head = _HEAD.pack(key[0], query, distance, threshold, self._code, key[1], len(data))
        return head + data


def pack(items: Iterable[bytes], start: int) -> list[Segment]:
    """Gather items, the first of which has position `start`, into segments below 256 KiB."""
    segments: list[Segment] = []
    part: list[bytes] = []
    size, end = 0, start
    for item in items:
        if part and size + len(item) >= SEGMENT_BYTES:
            segments.append(Segment(LOG, end, b"".join(part)))
            part, size = [], 0
        part.append(item)
        size += len(item)
        end += 1
    if part:
        segments.append(Segment(LOG, end, b"".join(part)))
    return segments


def unpack(data: bytes) -> Iterator[Item]:
    """Read a segment's items; raises `StateError` where it is damaged."""
    at = 0
    try:
        while at < len(data):
            label, query, distance, threshold, code, columns, size = _HEAD.unpack_from(data, at)
            dtype = np.dtype("<" + code.rstrip(b"\0").decode())
            row = np.frombuffer(data, dtype, columns, at + _HEAD.size)
            at += _HEAD.size + size
            yield Item((label, columns), query, distance, threshold, row, _HEAD.size + size)
    except (struct.error, TypeError, ValueError) as error:
        raise StateError(
            f"a segment of {LOG} is damaged at byte {at} ({error}): restore it from the changelog, "
            "or start the account afresh"
        ) from error
