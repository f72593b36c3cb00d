"""What profiles consist of comes back whole by its digest, or not at all."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import Settings, apply, producer, read_contents, write_contents
from gamekeeper.stream.kafka.contents import PIECE

pytestmark = pytest.mark.broker


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Settings of the test's own topics, which are made."""
    settings = Settings.from_env(environ)
    apply(settings)
    return settings


def content(size: int, seed: int = 0) -> bytes:
    """Make bytes that look like a network."""
    return np.random.default_rng(seed).bytes(size)


def digest(data: bytes) -> str:
    """Name a content as a network's file is named."""
    return sha256(data).hexdigest()


def put(settings: Settings, key: bytes | None, value: bytes | None) -> None:
    """Write a record of one's own."""
    with producer(settings) as client:
        client.send(settings.topics.profiles, key=key, value=value)
        client.flush()


@pytest.mark.parametrize("size", [1, PIECE, PIECE + 1, 3 * PIECE + 7])
def test_what_is_written_is_read(settings: Settings, size: int) -> None:
    """In as many pieces as it takes, also twice, also by a short digest; nothing else is."""
    data, small = content(size), b"{}"
    contents = {digest(data): data, digest(small)[:16]: small, digest(b"other"): b"other"}
    for _ in range(2):
        write_contents(settings, contents)
    wanted = [digest(data), digest(small)[:16], digest(b"nowhere")]
    assert read_contents(settings, wanted) == {key: contents[key] for key in wanted[:2]}


def test_what_is_damaged_or_not_whole_does_not_count(settings: Settings) -> None:
    """A writer that died, and one who would pass something off as another thing."""
    data = content(2 * PIECE)
    key = digest(data)
    put(settings, f"{key}/0/2".encode(), data[:PIECE])
    put(settings, None, b"no key")
    put(settings, b"\xff/0/1", b"no digest")
    put(settings, f"{key}/0/999999".encode(), data[:PIECE])
    put(settings, f"{key}/0/1".encode(), b"something else")
    assert read_contents(settings, [key]) == {}
    put(settings, f"{key}/1/2".encode(), data[PIECE:])
    assert read_contents(settings, [key]) == {key: data}
    put(settings, f"{key}/1/2".encode(), None)
    assert read_contents(settings, [key]) == {}


def test_a_missing_topic_is_said(environ: dict[str, str]) -> None:
    """And what makes it."""
    with pytest.raises(BrokerError, match="topics apply"):
        write_contents(Settings.from_env(environ), {digest(b""): b""})
