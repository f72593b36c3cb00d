"""JSON Schema of the two contracts, for producers and readers in other languages.

`python -m gamekeeper.schemas.jsonschema` writes `query-event.schema.json` and
`verdict.schema.json` beside this file; a test keeps them current.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from gamekeeper.schemas.event import CONTENT_TYPE, EVENT_TYPE, QueryEvent
from gamekeeper.schemas.verdict import Verdict

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_FOLDER: Final = Path(__file__).parent

_EVENT_TEXT: Final = (
    "Value of a record on the topic gamekeeper.queries: one inference request, as a MessagePack "
    "map with these names as keys. Tensor data is MessagePack bin (raw bytes), which JSON cannot "
    "show; elsewhere the types are the same. Record key: the account in UTF-8. Record headers "
    "(CloudEvents 1.0, Kafka binding, binary mode): ce_specversion '1.0', ce_id (the id), ce_type "
    f"'{EVENT_TYPE}', ce_source (URI reference of the sender), ce_time (RFC 3339), content-type "
    f"'{CONTENT_TYPE}'. Readers ignore unknown fields. Also held: ids have at most 256 characters "
    "and no NUL; data is as long as dtype and shape say; inputs, labels, probabilities and "
    "embedding agree in rows; values are finite; the whole is at most 8 MiB and 4096 rows."
)
_VERDICT_TEXT: Final = (
    "Value of a record on the topic gamekeeper.verdicts: one change of an account's standing, as "
    "JSON. Record key: the account in UTF-8. Readers ignore unknown fields and may drop records "
    "whose id they have seen."
)

SCHEMAS: Final[dict[str, tuple[type[msgspec.Struct], str, str]]] = {
    "query-event.schema.json": (QueryEvent, "Gamekeeper query event", _EVENT_TEXT),
    "verdict.schema.json": (Verdict, "Gamekeeper verdict", _VERDICT_TEXT),
}
"""File name -> the type, title and text of its schema."""


def generate(name: str) -> str:
    """Make the text of one of `SCHEMAS`."""
    kind, title, text = SCHEMAS[name]
    _, components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    root: dict[str, Any] = components.pop(kind.__name__)
    document = {"$schema": _DIALECT, **root, "title": title, "description": text}
    for component in components.values():
        for field in component["properties"].values():
            if "contentEncoding" in field:  # base64 is how JSON would carry bytes
                field["contentEncoding"] = "binary"
    if components:
        document["$defs"] = components
    return json.dumps(document, indent=2) + "\n"


def main() -> None:
    """Write all of `SCHEMAS` beside this file."""
    for name in SCHEMAS:
        (_FOLDER / name).write_text(generate(name))


if __name__ == "__main__":
    main()
