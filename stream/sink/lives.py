"""The lives of the sink's topics: rows of one that was made anew are not mixed with the other's.

Its records have offsets that the folder knows as those of others, so that some would be passed
over, and accounts' queries counted on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from gamekeeper.schemas.errors import TraceError
from gamekeeper.stream.kafka import LOOK_SECONDS, Settings, Watch


class Lives:
    """Knows the topics' ids from the first look on, and which topics are `missing` since the last.

    Where a broker has no ids, only an offset beyond a topic's end tells that it was made anew.
    """

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        """Prepare; nothing connects before the first look."""
        self._brokers = settings.brokers
        self._watch = Watch(settings, *topics)
        self._known: dict[str, str] = {}
        self._looked = float("-inf")
        self.missing: list[str] = []

    @property
    def obstacle(self) -> str | None:
        """What is to be done about topics that are missing; None where none is."""
        if not self.missing:
            return None
        return f"{', '.join(self.missing)} was deleted; make it with `gamekeeper topics apply`"

    def is_due(self) -> bool:
        """Say whether the last look was some seconds ago."""
        return time.monotonic() - self._looked >= LOOK_SECONDS

    def look(self) -> None:
        """Ask for the topics; `TraceError` where one was made anew, `BrokerError` as `Watch`."""
        self._looked = time.monotonic()
        seen = self._watch.look()
        for topic, now in seen.items():
            if now.differs(self._known.setdefault(topic, now.life)):
                raise TraceError(
                    f"topic {topic} at {self._brokers} was made anew while it was read, and the "
                    "folder holds rows of the earlier one; use another folder for --out"
                )
        self.missing = [topic for topic, now in seen.items() if not now.partitions]

    def close(self) -> None:
        """Let go of the connection."""
        self._watch.close()
