"""A table's rows on this machine, as the changelog says they are: in memory, or in RocksDB.

Faust's own memory store has one dictionary for all partitions. An account whose producers disagree
about its partition has rows under the same keys in two of them: each would be restored from the
other's rows, with the other's offsets. So here each partition's rows are apart, as in RocksDB.

RocksDB outlives the process, and the changelog that it was made from may not: a topic that was
deleted and made anew is another one. So a partition's database notes the id of its changelog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import nsmallest
from itertools import islice
from typing import Any, Final

import faust
import structlog
from faust.stores import STORES, memory, rocksdb

from gamekeeper.stream.worker.changelog import changes

log = structlog.get_logger("gamekeeper.stream")

MEMORY: Final = "gamekeeper-memory"
ROCKSDB: Final = "gamekeeper-rocksdb"
STORES.aliases[MEMORY] = f"{__name__}:MemoryStore"
STORES.aliases[ROCKSDB] = f"{__name__}:RocksStore"

_CHANGELOG: Final = b"__gamekeeper\0changelog__"


class MemoryStore(memory.Store):  # type: ignore[misc]  # Faust is not followed by mypy
    """Faust's memory store with `data` keyed by partition and key."""

    def read(self, partition: int, key: bytes) -> bytes | None:
        """Read a row of a partition."""
        row: bytes | None = self.data.get((partition, key))
        return row

    def scan(self, partition: int, after: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """Give the next rows of a partition after a key, in the order of their keys."""
        keys = (key for where, key in self.data if where == partition and key > after)
        return [(key, self.data[partition, key]) for key in nsmallest(count, keys)]

    def get(self, key: bytes, default: bytes | None = None) -> bytes | None:
        """Read a row of the current event's partition."""
        row = self.read(faust.current_event().message.partition, key)
        return default if row is None else row

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Do to the rows what the changelog says."""
        for change in changes(batch, self.read):
            row = change.partition, change.key
            if change.value is None:
                self.data.pop(row, None)
            else:
                self.data[row] = change.value

    def follow(self, partition: int, changelog: str, end: int) -> bool:
        """Do nothing: what is in memory was read from the changelog that there is."""
        return True

    async def on_recovery_completed(self, active_tps: set[Any], standby_tps: set[Any]) -> None:
        """Forget the partitions that went to other workers."""
        mine = {tp.partition for tp in active_tps | standby_tps}
        for row in [row for row in self.data if row[0] not in mine]:
            del self.data[row]


class RocksStore(rocksdb.Store):  # type: ignore[misc]  # Faust is not followed by mypy
    """Faust's RocksDB store, a database for each partition."""

    def read(self, partition: int, key: bytes) -> bytes | None:
        """Read a row of a partition."""
        row: bytes | None = self._db_for_partition(partition).get(key)
        return row

    def scan(self, partition: int, after: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """Give the next rows of a partition after a key, in the order of their keys."""
        rows = self._db_for_partition(partition).items(from_key=after)
        return list(islice((row for row in rows if row[0] > after), count))

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Do to the rows what the changelog says."""
        super().apply_changelog_batch(list(changes(batch, self.read)), to_key, to_value)

    def follow(self, partition: int, changelog: str, end: int) -> bool:
        """Make sure that the rows are of this changelog; false if they were not, and are gone.

        `changelog` is its topic's id, empty where the broker has none; then rows from beyond its
        `end` tell that it was made anew.
        """
        database = self._db_for_partition(partition)
        noted = (database.get(_CHANGELOG) or b"").decode()
        offset = database.get(self.offset_key)
        other = bool(noted and changelog and noted != changelog)
        other |= offset is not None and int(offset) >= end
        if other:
            for key in list(database.keys()):
                database.delete(key)
        database.put(_CHANGELOG, changelog.encode())
        return not other
