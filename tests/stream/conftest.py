"""What the tests of the tap share: a tap that needs no broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gamekeeper.stream.tap import MemoryTransport, QueryTap


@pytest.fixture
def memory() -> MemoryTransport:
    """A broker in memory."""
    return MemoryTransport()


@pytest.fixture
def tap(memory: MemoryTransport) -> Iterator[QueryTap]:
    """A tap into the broker in memory."""
    with QueryTap(model="digits", transport=memory) as tap:
        yield tap
