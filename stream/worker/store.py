"""The accounts that are held in memory, least recently used first out; the others are rows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from gamekeeper.detectors.engine import Key, Source
from gamekeeper.stream.worker.account_rows import Entry
from gamekeeper.stream.worker.changelog import Tenure
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.row_codec import Get, Noted, header_key


class Store:
    """The hot accounts of engines, least recently used first out; the others are rows.

    `limit` bounds the hot accounts after `evict()`, and `max_bytes` what they hold in memory, but
    for the one used last and those that are pinned. Before an account is opened or grows,
    `make_room()` keeps the bound.
    `tenures` has the partitions that are this worker's.
    """

    def __init__(
        self, engines: Engines, limit: int, max_bytes: int, tenures: Mapping[int, Tenure]
    ) -> None:
        self._engines = engines
        self._tenures = tenures
        self._limit = limit
        self.max_bytes = max_bytes
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._used: set[Key] = set()
        self._pinned: dict[Key, int] = {}
        self.bytes = 0

    def __len__(self) -> int:
        """Count the hot accounts."""
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        """Say whether an account is hot."""
        return key in self._entries

    def open(self, key: Key, source: Source, get: Get) -> Entry:
        """Make the account hot, from its rows if it has any.

        An account that was hot for another partition is rebuilt: producers that disagree about
        an account's partition get one state per partition. So is one that was hot under another
        profile: what it learnt is to be saved by then. Raises `StateError` where rows cannot be
        read; `renew()` is what then helps.
        """
        entry = self._entries.get(key)
        home = source.partition, self._engines.of(source).profile.hash
        if entry is None or (entry.partition, entry.profile) != home:
            entry = self._entry(key, source)
            stored = get(header_key(key))
            if stored is not None:
                entry.restore(stored, get)
            self._put(entry)
        self._entries.move_to_end(key)
        self._used.add(key)
        return entry

    def renew(self, key: Key, source: Source) -> Entry:
        """Begin the account anew, whatever its rows say; they will be written over."""
        entry = self._entry(key, source)
        self._put(entry)
        self._used.add(key)
        return entry

    def _entry(self, key: Key, source: Source) -> Entry:
        return Entry(key, self._engines.of(source).profile, source, self._tenures[source.partition])

    def _put(self, entry: Entry) -> None:
        self.forget(entry.key)
        entry.weigh()
        self.bytes += entry.bytes
        self._entries[entry.key] = entry
        self._engines.accounts[entry.key] = entry.account

    def hot(self, key: Key) -> Entry:
        """Give an account that is hot."""
        return self._entries[key]

    def noted(self, keys: Iterable[Key]) -> list[tuple[Key, Noted]]:
        """Give what is noted of those of some accounts that are hot."""
        entries = (self._entries.get(key) for key in dict.fromkeys(keys))
        return [(each.key, each.noted) for each in entries if each is not None and each.noted]

    def forget(self, key: Key) -> None:
        """Drop a hot account whose live state is not to be trusted; its rows stay."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.bytes
            self._engines.accounts.pop(key, None)

    def pin(self, key: Key, growth: int) -> None:
        """Keep a hot account that is in the middle of an event, by which it may grow."""
        self._pinned[key] = growth

    def unpin(self, key: Key) -> None:
        """Let go of it again."""
        self._pinned.pop(key, None)

    def pinned(self) -> tuple[int, int]:
        """Count the pinned accounts, and what they take and may grow by."""
        taken = sum(self._entries[key].bytes for key in self._pinned)
        return len(self._pinned), taken + sum(self._pinned.values())

    def make_room(self, more: int) -> None:
        """Drop the least recently used accounts until `more` bytes fit beside the others.

        Those used since the last `evict()` stay: what they have learnt may not be saved yet.
        """
        more += sum(self._pinned.values())
        while self.bytes + more > self.max_bytes:
            oldest = self._oldest()
            if oldest is None or oldest in self._used:
                return
            self.forget(oldest)

    def _oldest(self) -> Key | None:
        return next((key for key in self._entries if key not in self._pinned), None)

    def evict(self) -> None:
        """Drop the least recently used accounts beyond the limits."""
        for key in self._used & self._entries.keys():
            entry = self._entries[key]
            self.bytes -= entry.bytes
            entry.weigh()
            self.bytes += entry.bytes
        self._used.clear()
        while len(self) > self._limit or (self.bytes > self.max_bytes and len(self) > 1):
            oldest = self._oldest()
            if oldest is None:
                return
            self.forget(oldest)

    def clear(self) -> None:
        """Drop all hot accounts, as when partitions change hands."""
        self._entries.clear()
        self._engines.accounts.clear()
        self._used.clear()
        self._pinned.clear()
        self.bytes = 0
