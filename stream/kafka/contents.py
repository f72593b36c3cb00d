"""What profiles consist of, kept in a compacted topic: read back by the digest of what it is.

A content is a profile's canonical JSON or a network's file. Its digest is the SHA-256 in hex, or
the beginning of it, as a profile's hash is. It is written in pieces, as networks may be larger than
a record: piece 0 of 3 of content `d` has the key `d/0/3`. Whoever reads checks the digest of the
whole, so that nothing counts but what was meant.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from gamekeeper.schemas.errors import AbsentError
from gamekeeper.stream.kafka.clients import broker_errors, producer
from gamekeeper.stream.kafka.lives import require_topic
from gamekeeper.stream.kafka.news import Gap, News
from gamekeeper.stream.kafka.reader import open_topic
from gamekeeper.stream.kafka.settings import Settings

PIECE: Final = 512 * 2**10  # bytes; Kafka's default limit of a record is 1 MiB
_KEY: Final = re.compile(r"([0-9a-f]{16,64})/([0-9]{1,6})/([0-9]{1,6})")
_SECONDS: Final = 15.0  # as long as any client here waits for a broker


def write_contents(settings: Settings, contents: Mapping[str, bytes]) -> None:
    """Write contents, by their digests, in this order; returns when the broker has them all.

    Raises `BrokerError`.
    """
    topic = settings.topics.profiles
    require_topic(settings, topic)
    client = producer(settings)
    try:
        with broker_errors(settings.brokers, "write a profile to", topic=topic):
            for sent in [
                client.send(topic, key=key, value=piece)
                for digest, data in contents.items()
                for key, piece in _pieces(digest, data)
            ]:
                sent.get(timeout=_SECONDS)
    finally:
        client.close(timeout=1)


def _pieces(digest: str, data: bytes) -> Iterator[tuple[bytes, bytes]]:
    count = max(1, -(-len(data) // PIECE))
    for number in range(count):
        piece = data[number * PIECE : (number + 1) * PIECE]
        yield f"{digest}/{number}/{count}".encode(), piece


def read_contents(settings: Settings, digests: Collection[str]) -> dict[str, bytes]:
    """Read the contents that have these digests; one that is not there, or not whole, is left out.

    Reads the topic from its beginning to its end. Raises `BrokerError`.
    """
    found: dict[tuple[str, int], dict[int, bytes]] = {}
    with open_topic(settings, settings.topics.profiles, "beginning", _end_waiting) as reader:
        while not reader.at_end():
            for record in reader.poll():
                key = _KEY.fullmatch((record.key or b"").decode(errors="replace"))
                if key is not None and key[1] in digests:
                    found.setdefault((key[1], int(key[3])), {})[int(key[2])] = record.value or b""
    return dict(_whole(found))


def _end_waiting(news: Gap | News) -> None:
    """Leave it to the caller whether to try again where nothing comes."""
    if isinstance(news, News) and news.waits:
        raise AbsentError(str(news))


def _whole(
    found: Mapping[tuple[str, int], Mapping[int, bytes]],
) -> Iterator[tuple[str, bytes]]:
    for (digest, count), pieces in found.items():
        data = b"".join(pieces[number] for number in sorted(pieces))
        if len(pieces) == count and hashlib.sha256(data).hexdigest().startswith(digest):
            yield digest, data
