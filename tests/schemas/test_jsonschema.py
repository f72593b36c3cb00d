"""The JSON Schemas in the package are current, and say what the decoders do."""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import jsonschema
import msgspec
import pytest

from gamekeeper.schemas.event import QueryEvent, encode_event
from gamekeeper.schemas.jsonschema import SCHEMAS, generate
from gamekeeper.schemas.verdict import Verdict, encode_verdict


def shipped(name: str) -> dict[str, Any]:
    """Read a schema as it ships in the package."""
    document: dict[str, Any] = json.loads(files("gamekeeper.schemas").joinpath(name).read_text())
    return document


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_schemas_are_current(name: str) -> None:
    """Generating again gives the file; if not, run `python -m gamekeeper.schemas.jsonschema`."""
    assert files("gamekeeper.schemas").joinpath(name).read_text() == generate(name)
    jsonschema.Draft202012Validator.check_schema(shipped(name))


def test_events_follow_the_schema(make_event: Callable[..., QueryEvent]) -> None:
    """A valid event validates once its bytes are text; one with a wrong label does not."""
    validator = jsonschema.Draft202012Validator(shipped("query-event.schema.json"))
    plain = msgspec.msgpack.decode(encode_event(make_event(probabilities=make_event().inputs)))
    for name in ("inputs", "probabilities"):
        plain[name]["data"] = plain[name]["data"].decode("latin-1")
    validator.validate(plain)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(plain | {"labels": [-1]})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(plain | {"inputs": plain["inputs"] | {"dtype": "float8"}})


def test_verdicts_follow_the_schema(make_verdict: Callable[..., Verdict]) -> None:
    """A valid verdict validates; one with an unknown severity does not."""
    validator = jsonschema.Draft202012Validator(shipped("verdict.schema.json"))
    plain = json.loads(encode_verdict(make_verdict()))
    validator.validate(plain)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(plain | {"severity": "fatal"})


def test_every_field_is_described() -> None:
    """A producer in another language finds a description of every field of an event."""
    document = shipped("query-event.schema.json")
    for fields in (document["properties"], document["$defs"]["Tensor"]["properties"]):
        assert all(field.get("description") for field in fields.values())
