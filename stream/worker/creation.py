"""No topic is made by asking for it.

aiokafka's clients let the broker make each topic that they ask about and that is not there, with
the broker's defaults for partitions and settings: a topic that was deleted would come back so. No
option of theirs forbids it. A test of a deleted topic fails when the name that is replaced here
changes.
"""

from __future__ import annotations

import aiokafka.client
from aiokafka.protocol.metadata import MetadataRequest


class _MetadataRequest(MetadataRequest):  # type: ignore[misc]  # not followed by mypy
    """Asks for metadata and makes no topic."""

    def __init__(self, topics: list[str] | None = None) -> None:
        super().__init__(topics, allow_auto_topic_creation=False)


def forbid_creation() -> None:
    """Let no client of aiokafka, in this process, make a topic by asking for it."""
    aiokafka.client.MetadataRequest = _MetadataRequest
