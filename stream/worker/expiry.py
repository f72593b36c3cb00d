"""Deleting what is stored of accounts that are forgotten.

An account that has been silent for longer than the profile's policy remembers begins anew with its
next query, whether its rows are still there or not (see `gamekeeper.detectors.engine.forgetting`).
So its rows may go. They go when events that are a day newer than that have come on its partition:
one that comes a day late still finds the account as it was.

Time is that of the partition's events, and never later than this machine's: neither old events that
are read again nor a clock that runs ahead makes anybody forgotten.

Rows are looked at a hundred accounts at a time, between micro-batches, round and round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import msgspec

from gamekeeper.detectors.engine import Key, forgotten, seen
from gamekeeper.schemas.errors import StateError
from gamekeeper.stream.worker.changelog import Stored, Tenure, stored
from gamekeeper.stream.worker.row_codec import (
    HEADERS,
    Get,
    Row,
    decode_header,
    decode_key,
    encode,
)

LATENESS = 24 * 3600 * 10**6
"""Microseconds by which an event may come late and still find its account."""
EVERY = 1.0
"""Seconds from one look to the next."""
AT_ONCE = 100
"""Accounts looked at: a millisecond, and if all go, some thousand rows. A million take hours, which
is little beside the day at least that an account is remembered."""


class Rows(Protocol):
    """What is kept of a table on this machine."""

    def read(self, partition: int, key: bytes) -> bytes | None:
        """Read a row of a partition."""

    def scan(self, partition: int, after: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """Give the next rows of a partition after a key, in the order of their keys."""


class Expiry:
    """Finds the accounts that are forgotten, and the rows that delete what is stored of them.

    `tenures` has the partitions that are this worker's; `patience` says of one how long a silence
    (us) is remembered; `hot` says of an account whether it is in memory, where it waits until it is
    not.
    """

    def __init__(
        self,
        rows: Rows,
        tenures: Mapping[int, Tenure],
        patience: Callable[[int], float],
        hot: Callable[[Key], bool],
    ) -> None:
        self._rows = rows
        self._tenures = tenures
        self._patience = patience
        self._hot = hot
        self._latest: dict[int, int] = {}
        self._places: dict[int, bytes] = {}
        self._turn = 0
        self._next = 0.0

    def note(self, partition: int, event_time: int) -> None:
        """Note the time (us) of an event of a partition."""
        self._latest[partition] = max(event_time, self._latest.get(partition, 0))

    def due(self) -> bool:
        """Say whether it is time to look, and if so, begin to wait for the next one."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + EVERY
        return True

    def clear(self) -> None:
        """Know nothing of any partition, as when they change hands."""
        self._latest.clear()
        self._places.clear()

    def look(self) -> list[Row]:
        """Look at the next accounts of the next partition; give what deletes the forgotten ones."""
        partitions = [each for each in self._tenures if each in self._latest]
        if not partitions:
            return []
        self._turn += 1
        partition = partitions[self._turn % len(partitions)]
        now = min(self._latest[partition], time.time_ns() // 1000)
        return [
            row
            for key, header in self._headers(partition)
            if self._gone(key, header, now - self._patience(partition))
            for row in self._delete(partition, key, header)
        ]

    def _headers(self, partition: int) -> list[tuple[bytes, Stored]]:
        """Read the next accounts' headers, from the first again after the last."""
        after = self._places.get(partition, HEADERS)
        rows = self._rows.scan(partition, after, AT_ONCE)
        headers = [(key, value) for key, value in rows if key.startswith(HEADERS)]
        self._places[partition] = headers[-1][0] if len(headers) == AT_ONCE else HEADERS
        return [(key, row) for key, value in headers if (row := stored(value))]

    def _gone(self, key: bytes, header: Stored, remembered: float) -> bool:
        """Say whether an account was seen last before what is remembered, and its rows may go."""
        try:
            found = seen(decode_header(header.data).account)
        except (msgspec.MsgspecError, StateError):
            return False  # the account's next event tells
        known = found.last_time and not found.suspected
        silent = remembered - found.last_time > LATENESS
        return bool(known) and silent and not self._hot(decode_key(key))

    def _delete(self, partition: int, key: bytes, header: Stored) -> list[Row]:
        def get(row: bytes) -> Stored | None:
            return stored(self._rows.read(partition, row))

        return list(_deleted(key, header, get, partition, self._tenures[partition].epoch))


def _deleted(key: bytes, header: Stored, get: Get, partition: int, epoch: int) -> Iterator[Row]:
    """Give the rows that delete an account, in their order.

    First a header that needs none of the account's segments, then their deletion, its own at last:
    wherever that ends, what is left is known, and goes when the account is next looked at, or seen.
    """
    saved = decode_header(header.data)
    ranges = [msgspec.structs.replace(each, setup="") for each in saved.ranges]
    left = msgspec.structs.replace(saved, ranges=ranges, account=forgotten(saved.account))
    yield Row("header", partition, key, encode(left), epoch)
    for each in saved.ranges:
        found = ((row, get(row)) for row in each.keys(decode_key(key)))
        of_range = [(row, there.epoch) for row, there in found if there]
        for row, writer in [*of_range, *each.leftovers(decode_key(key), get)]:
            yield Row("delete", partition, row, None, writer)
    for writer in sorted({header.epoch, epoch}):
        yield Row("delete", partition, key, None, writer)
