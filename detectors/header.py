"""A detector's header: what it was written by, and then the detector's own fields."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from gamekeeper.schemas.errors import StateError


class Header(NamedTuple):
    """Packs and reads the headers of one `detector` with its `options`.

    `codec` numbers the form of its state: it grows whenever old state cannot be read any more.

    >>> header = Header("count", codec=1, options=["fast"])
    >>> with header.fields(header.pack(3, 4)) as (seen, alarms):
    ...     seen, alarms
    (3, 4)
    """

    detector: str
    codec: int
    options: list[Any]

    def pack(self, *fields: Any) -> bytes:
        """Encode codec, options and fields."""
        return msgspec.msgpack.encode([self.codec, self.options, *fields])

    @contextmanager
    def fields(self, header: bytes) -> Iterator[list[Any]]:
        """Give the fields of a header, to be taken apart in the `with` block.

        Raises `StateError` where another codec or other options wrote them, and where they are
        damaged: the bytes, or what the block makes of the fields.
        """
        try:
            codec, options, *fields = msgspec.msgpack.decode(header)
            if (codec, options) == (self.codec, self.options):
                yield fields
                return
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            raise StateError(f"the header of {self.detector} is damaged: {error}") from error
        raise StateError(
            f"saved {self.detector} state is of codec {codec} with options {options}, this "
            f"detector of codec {self.codec} with {self.options}: start the account afresh"
        )
