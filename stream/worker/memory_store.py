"""A table's rows in memory, each partition's apart, as they are in the changelog and in RocksDB.

Faust's own memory store has one dictionary for all partitions. An account whose producers disagree
about its partition has rows under the same keys in two of them: each would be restored from the
other's rows, with the other's offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import faust
from faust.stores import STORES, memory

SCHEME = "gamekeeper-memory"
STORES.aliases[SCHEME] = f"{__name__}:Store"


class Store(memory.Store):  # type: ignore[misc]  # Faust is not followed by mypy
    """Faust's memory store with `data` keyed by partition and key."""

    def get(self, key: bytes, default: bytes | None = None) -> bytes | None:
        """Read a row of the current event's partition."""
        row: bytes | None = self.data.get((faust.current_event().message.partition, key), default)
        return row

    def apply_changelog_batch(
        self, batch: Iterable[Any], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        """Do to the rows what the changelog says."""
        for event in batch:
            row = event.message.partition, to_key(event.key)
            if event.message.value is None:
                self.data.pop(row, None)
            else:
                self.data[row] = to_value(event.value)

    async def on_recovery_completed(self, active_tps: set[Any], standby_tps: set[Any]) -> None:
        """Forget the partitions that went to other workers."""
        mine = {tp.partition for tp in active_tps | standby_tps}
        for row in [row for row in self.data if row[0] not in mine]:
            del self.data[row]
