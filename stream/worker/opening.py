"""Records of many accounts, cut so that the accounts of each part fit into memory together.

A micro-batch may touch thousands of accounts that are not in memory. To open them all and evict
afterwards would take what they take together, however little is allowed. So the records are cut by
account: as many are opened as fit, then scored, saved and evicted, then the next ones. What an
account's own records add is given room in advance too. Each account's records keep their order.

How large an account will be is known before it is opened: its rows are counted as they are read,
before any of them is decoded, and an account that turns out not to fit is left to the next part.
Alone in a part is what does not fit anyhow: one account is not cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gamekeeper.detectors.engine import Arrival, Key
from gamekeeper.stream.worker.account_rows import Entry
from gamekeeper.stream.worker.changelog import Stored
from gamekeeper.stream.worker.dead_letters import DeadLetter
from gamekeeper.stream.worker.row_codec import Get
from gamekeeper.stream.worker.store import Store

EXPANSION = 8
"""Bytes in memory for each that is stored or sent: rows of bytes become float32, in arrays with a
quarter of room to grow, and are there twice while they are copied. It is measured once it is open.
"""
NEW = 64 * 2**10
"""Bytes of an account that has sent nothing yet: 2 to 80 KiB, by its detectors."""
SHARE = 4
"""A part's accounts take one in so many of the bytes allowed, so that what was hot stays so, and
that there is room for them to grow: their arrays do by a quarter."""
SECONDS = 0.25
"""After so long no more accounts are opened before those that are have been scored and saved."""
MOST_ACCOUNTS = 1024
"""Accounts of a part, whose rows are sent at a stretch."""


class Item:
    """A record that holds a valid event or order: the Faust event beside what it says."""

    __slots__ = ("arrival", "event")

    def __init__(self, event: Any, arrival: Arrival) -> None:
        self.event = event
        self.arrival = arrival

    @property
    def key(self) -> Key:
        """The account and model that it is about."""
        return self.arrival.event.account, self.arrival.event.model


@dataclass(slots=True)
class Records:
    """Records of a micro-batch, decoded, of which no account has two homes (see `engines`).

    `events` are the Faust events that they came as, `rows` counts their queries.
    """

    events: list[Any] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    rows: int = 0

    def only(self, wanted: Callable[[Any], bool]) -> Records:
        """Leave out the records whose events are not wanted."""
        events = [event for event in self.events if wanted(event)]
        if len(events) == len(self.events):
            return self
        items = [item for item in self.items if wanted(item.event)]
        kept = {(event.message.partition, event.message.offset) for event in events}
        letters = [each for each in self.letters if (each.partition, each.offset) in kept]
        return Records(events, items, letters, sum(len(item.arrival.event) for item in items))

    def add(self, items: list[Item]) -> None:
        """Take in records."""
        self.items += items
        self.events += [item.event for item in items]
        self.rows += sum(len(item.arrival.event) for item in items)


Open = Callable[[Key, Item, Callable[[Get], Get]], Entry]
"""Opens an account for a record; it reads through what the function makes of the store's `get`."""


class Full(Exception):  # noqa: N818  # no error: the part is done
    """The account does not fit beside those that are open."""


class Part:
    """The accounts that are open together, and what they take; beside `pinned` ones, if told."""

    def __init__(self, store: Store, *, pinned: bool = False) -> None:
        self._store = store
        self._share = store.max_bytes // SHARE
        self._until = time.monotonic() + SECONDS
        self._accounts, self._bytes = store.pinned() if pinned else (0, 0)
        self.growth = 0
        self.records = Records()

    def take(self, key: Key, items: list[Item], open_: Open) -> None:
        """Open an account and take in its records; raises `Full`."""
        growth = EXPANSION * sum(len(item.event.value or b"") for item in items)
        self._fit(growth)
        if self._accounts >= MOST_ACCOUNTS or (self._accounts and time.monotonic() > self._until):
            raise Full
        entry = open_(key, items[0], lambda get: self._counting(get, growth))
        self._fit(growth + entry.bytes)
        self._accounts += 1
        self._bytes += entry.bytes
        self.growth += growth
        self._make_room(0)
        self.records.add(items)

    def _counting(self, get: Get, growth: int) -> Get:
        """Make room, row by row, for what the rows that are read become in memory."""
        coming = NEW

        def read(key: bytes) -> Stored | None:
            nonlocal coming
            row = get(key)
            coming += EXPANSION * len(row.data if row else b"")
            self._fit(growth + coming)
            self._make_room(growth + coming)
            return row

        return read

    def _fit(self, more: int) -> None:
        if self._accounts and self._bytes + self.growth + more > self._share:
            raise Full

    def _make_room(self, more: int) -> None:
        """Make room for what is to come, and for what the accounts of this part grow by."""
        self._store.make_room(self._bytes // SHARE + self.growth + more)


def make_room(key: Key, item: Item, store: Store, open_: Open) -> bool:
    """Open and pin the account of a large event, if it fits beside those that are pinned."""
    part = Part(store, pinned=True)
    try:
        part.take(key, [item], open_)
    except Full:
        return False
    store.pin(key, part.growth)
    return True


def parts(
    records: Records, store: Store, open_: Open, watches: Callable[[Item], bool]
) -> Iterator[Records]:
    """Cut records by account and open the accounts; each part is to be done before the next.

    What needs no account (dead letters, models that are not watched) is in the first part.
    """
    accounts: dict[Key, list[Item]] = {}
    for item in records.items:
        accounts.setdefault(item.key, []).append(item)
    part = Part(store)
    part.records = _unread(records)
    for key, items in accounts.items():
        if not watches(items[0]):
            part.records.add(items)
            continue
        try:
            part.take(key, items, open_)
        except Full:
            yield part.records
            part = Part(store)
            part.take(key, items, open_)
    yield part.records


def _unread(records: Records) -> Records:
    """Give what became dead letters."""
    valid = {id(item.event) for item in records.items}
    return Records([each for each in records.events if id(each) not in valid], [], records.letters)
