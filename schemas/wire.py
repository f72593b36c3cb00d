"""What all records share: how they are decoded, and what is said of those that cannot be."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from gamekeeper.schemas.errors import SchemaError

YEAR_3000: Final = 32_503_680_000_000_000  # microseconds; beyond it, the unit was mistaken
Time = Annotated[int, Meta(ge=0, lt=YEAR_3000)]

# All that msgspec raises for bytes: malformed or mistyped (DecodeError), text that is not UTF-8,
# nesting too deep, lengths that no memory can hold.
FAULTS: Final = (msgspec.DecodeError, UnicodeError, RecursionError, MemoryError, OverflowError)

_AT: Final = re.compile(r"^(.*) - at `(\$.*)`$", re.DOTALL)
_MISSING: Final = re.compile(r"^Object missing required field `(\w+)`")

Record = TypeVar("Record")


class Number(msgspec.Struct):
    """The one field that every version of a contract has."""

    schema: int = 1


_number_decoder: Final = msgspec.json.Decoder(Number)


def decode_json(payload: bytes, decoder: msgspec.json.Decoder[Record], known: int) -> Record:
    """Decode a JSON record whose contract has the number `known`.

    The number is looked at first: another one explains every mistyped field. Raises `SchemaError`,
    with the path to the first fault, and nothing else.
    """
    try:
        number = _number_decoder.decode(payload).schema
        if number != known:
            raise SchemaError(
                "$.schema", f"{number} is not {known}, the one known here; upgrade gamekeeper"
            )
        return decoder.decode(payload)
    except FAULTS as error:
        raise decoding_fault(error) from error


def decoding_fault(error: Exception) -> SchemaError:
    """Turn what msgspec raised into a `SchemaError` that has the path to the fault."""
    if isinstance(error, UnicodeError):
        return SchemaError("$", f"text that is not valid UTF-8: {error}")
    if isinstance(error, RecursionError):
        return SchemaError("$", "nested too deeply")
    if isinstance(error, MemoryError):
        return SchemaError("$", "larger than memory")
    reason, path = str(error), "$"
    if found := _AT.match(reason):
        reason, path = found.groups()
    if missing := _MISSING.match(reason):
        return SchemaError(f"{path}.{missing[1]}", "is missing")
    return SchemaError(path, reason)
