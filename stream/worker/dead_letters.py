"""Dead letters: records that could not be scored, kept with the reason and where they came from.

A dead letter has the original key and value. Its headers are `reason`, `path` (to the fault within
the value; `$` is all of it), `source_topic`, `source_partition` and `source_offset`, in UTF-8.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from gamekeeper.schemas.errors import ProfileError, SchemaError, WrongKeyError

ReasonClass = Literal["schema", "key", "profile", "internal"]
"""`schema`: the value breaks its contract; `key`: the record's key is not the value's account;
`profile`: an order names a profile that cannot be taken; `internal`: a detector raised."""

MAX_REASON = 500  # characters: headers are for reading, and an exception may quote a payload


class DeadLetter(NamedTuple):
    """A record that could not be scored; `kind` is the reason's class, for the metrics."""

    key: bytes | None
    value: bytes | None
    topic: str
    partition: int
    offset: int
    kind: ReasonClass
    path: str
    reason: str

    def headers(self) -> list[tuple[str, bytes]]:
        """Say why it is here and where it came from."""
        texts = {
            "reason": self.reason[:MAX_REASON],
            "path": self.path[:MAX_REASON],
            "source_topic": self.topic,
            "source_partition": str(self.partition),
            "source_offset": str(self.offset),
        }
        return [(name, text.encode(errors="replace")) for name, text in texts.items()]

    def without_value(self) -> DeadLetter:
        """Shorten it to its headers, for a value that the broker does not accept a second time."""
        size = len(self.value or b"")
        return self._replace(value=None, reason=f"{self.reason} (value of {size} bytes left out)")


def reason_class(error: Exception) -> ReasonClass:
    """Classify what went wrong.

    >>> reason_class(SchemaError("$.id", "empty"))
    'schema'
    """
    if isinstance(error, WrongKeyError):
        return "key"
    if isinstance(error, ProfileError):
        return "profile"
    return "schema" if isinstance(error, SchemaError) else "internal"


def explain(error: Exception) -> tuple[str, str]:
    """Give an error's path and reason.

    >>> explain(ValueError("singular matrix"))
    ('$', 'internal: ValueError: singular matrix')
    """
    if isinstance(error, SchemaError):
        return error.path, error.reason
    if isinstance(error, ProfileError):
        return "$.profile", str(error)
    return "$", f"internal: {type(error).__name__}: {error}"


def letter_of(event: Any, error: Exception) -> DeadLetter:
    """Make a Faust event a dead letter."""
    message = event.message
    return DeadLetter(
        event.key,
        event.value,
        message.topic,
        message.partition,
        message.offset,
        reason_class(error),
        *explain(error),
    )
