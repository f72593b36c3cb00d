"""Whose records are worked on next: every account that waits gets its turn.

Each account's records wait in a line of their own, in their order, and a **turn** of an account is
at most `QUANTUM` rows. The turns of all whose next event fits into one are taken together, as a
micro-batch. An event of more rows takes a turn for each slice of so many, by itself. Micro-batches
and slices alternate, and so do the accounts that slices are of. So an event waits for at most one
slice, of whomever, and one turn of each account that sends small events, however much they send.

Accounts are told apart by the record's key. What has no key, or a wrong one, is in line with others
of that key, and does not harm anybody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gamekeeper.stream.worker.dead_letters import DeadLetter
from gamekeeper.stream.worker.engines import Home
from gamekeeper.stream.worker.opening import Item, Records

Event = Any
"""A `faust.Event` with raw bytes (or None) as key and value."""

QUANTUM: Final = 256
"""Rows of one account in a turn, at most. Hardened PRADA takes 10 ms for so many of 28x28 pixels;
three detectors with networks take 0.5 to 1 s, so that a slice ends earlier, by the clock."""
MAX_ROWS: Final = 4096
"""Rows of a micro-batch: 16 full turns. No event has more rows than this."""


class Reading(NamedTuple):
    """A record as it was read: an event or an order, or why it is neither, and what it counts.

    `rows` are those to be scored; orders, dead letters and models that are not watched count as 1.
    """

    event: Event
    found: Item | DeadLetter
    rows: int


class _Line:
    """One account's records; the first may have been read already.

    Those of each partition are apart, in case producers do not agree where the account belongs.
    """

    __slots__ = ("_homes", "_read", "bytes", "events", "first")

    def __init__(self, read: Callable[[Event], Reading]) -> None:
        self._read = read
        self._homes: dict[int, deque[Event]] = {}
        self.first: Reading | None = None
        self.events = 0
        self.bytes = 0

    def head(self) -> Reading:
        """Read the first record."""
        if self.first is None:
            self.first = self._read(next(iter(self._homes.values()))[0])
        return self.first

    def put(self, event: Event) -> None:
        self._homes.setdefault(event.message.partition, deque()).append(event)
        self.events += 1
        self.bytes += size_of(event)

    def pop(self) -> Event:
        self.first = None
        home, events = next(iter(self._homes.items()))
        event = events.popleft()
        if not events:
            del self._homes[home]
        self.events -= 1
        self.bytes -= size_of(event)
        return event

    def turn_over(self) -> None:
        """Let the next partition go first, if there is another."""
        if len(self._homes) > 1:
            self.first = None
            home = next(iter(self._homes))
            self._homes[home] = self._homes.pop(home)


class Shares:
    """The records that wait, and whose turn it is; `read` reads one, when its turn is near.

    `home` says by partition and offset what can be scored together (see `engines`).

    `events` counts them, `bytes` their values'. One that is being scored in slices waits, too.
    """

    def __init__(self, read: Callable[[Event], Reading], home: Callable[[int, int], Home]) -> None:
        self._read = read
        self._home = home
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._lines: dict[bytes | None, _Line] = {}  # whose turn was last comes last
        self._slice_next = False
        self.events = 0
        self.bytes = 0

    def put(self, event: Event) -> None:
        """Let a record wait behind the others of its account."""
        line = self._lines.get(event.key)
        if line is None:
            line = self._lines[event.key] = _Line(self._read)
        line.put(event)
        self.events += 1
        self.bytes += size_of(event)

    def waiting(self, key: bytes | None) -> tuple[int, int]:
        """Count an account's records that wait, and the bytes of their values."""
        line = self._lines.get(key)
        return (0, 0) if line is None else (line.events, line.bytes)

    def take(self) -> Records | Item | None:
        """Give what is to be worked on next: a micro-batch, or an event of which one slice is due.

        Such an event stays first in its line until it is `done`. None where nothing waits.
        """
        due = self._slice() if self._slice_next else None
        return due or self._batch() or self._slice()  # a large one may just have been read

    def done(self, item: Item) -> None:
        """Take an event off its line that was worked on in slices, unless it was forgotten."""
        key = item.event.key
        line = self._lines.get(key)
        if line is not None and line.first is not None and line.first.found is item:
            self._pop(line)
            line.turn_over()
            if not line.events:
                del self._lines[key]

    def _batch(self) -> Records | None:
        """Take the turns of all whose next event is small, as many as may be."""
        records = Records()
        for key, line in list(self._lines.items()):
            if records.events and records.rows + QUANTUM > MAX_ROWS:
                break
            if line.head().rows <= QUANTUM:
                self._turn(line, records)
                self._end_turn(key)
        self._slice_next = True
        return records if records.events else None

    def _slice(self) -> Item | None:
        """Take the next event that is large, of those that were read."""
        self._slice_next = False
        for key, line in self._lines.items():
            if line.first is not None and line.first.rows > QUANTUM:
                item = line.first.found
                assert isinstance(item, Item)
                self._end_turn(key)
                return item
        return None

    def _end_turn(self, key: bytes | None) -> None:
        line = self._lines.pop(key)
        if line.events:
            self._lines[key] = line

    def _turn(self, line: _Line, records: Records) -> None:
        """Let an account have its turn, with records of one home."""
        rows, home = 0, self._home_of(line.head())
        while line.events:
            head = line.head()
            if rows + head.rows > QUANTUM or self._home_of(head) != home:
                break
            rows += head.rows
            _add(records, head)
            self._pop(line)
        line.turn_over()

    def _home_of(self, reading: Reading) -> Home:
        message = reading.event.message
        return self._home(message.partition, message.offset)

    def _pop(self, line: _Line) -> None:
        self.events -= 1
        self.bytes -= size_of(line.pop())


def size_of(event: Event) -> int:
    """Count the bytes of a record's value."""
    return len(event.value or b"")


def _add(records: Records, reading: Reading) -> None:
    records.events.append(reading.event)
    records.rows += reading.rows
    if isinstance(reading.found, Item):
        records.items.append(reading.found)
    else:
        records.letters.append(reading.found)
