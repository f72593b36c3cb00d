"""What a reader tells of its topic besides its records."""

from __future__ import annotations

from typing import NamedTuple


class Gap(NamedTuple):
    """Where reading could not go on at `first`, and goes on at `next`."""

    topic: str
    partition: int
    first: int
    next: int

    @property
    def lost(self) -> int:
        """How many offsets have expired unread: as many records at most."""
        return max(0, self.next - self.first)

    def __str__(self) -> str:
        """Say what is lost, and what to do about it."""
        place = f"{self.topic} partition {self.partition}"
        if not self.lost:
            return (
                f"{place} ends before offset {self.first}: it was made anew or cut back, and is "
                f"read again from offset {self.next}"
            )
        return (
            f"{place}: {self.lost} records from offset {self.first} on had expired before they "
            f"were read; going on at offset {self.next}; lengthen retention.ms"
        )


class News(NamedTuple):
    """What has become of the topic; `waits`: until that changes, nothing more comes of it."""

    text: str
    waits: bool = False

    def __str__(self) -> str:
        """Say it."""
        return f"waiting: {self.text}" if self.waits else self.text
