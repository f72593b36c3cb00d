"""The error tree: one root, and a path that can be read back."""

import importlib
from pathlib import Path

from gamekeeper.schemas.errors import GamekeeperError, SchemaError

ROOT = Path(__file__).parents[2]
CONTROL_FLOW = {
    "gamekeeper.replay.theft.base.AttackOver",
    "gamekeeper.stream.sink.member.Stopped",
    "gamekeeper.stream.worker.opening.Full",
    "gamekeeper.stream.worker.settling.LostPartitionsError",
}
"""What the package itself raises and catches: a thief gives up, a batch is another worker's."""


def test_one_root() -> None:
    """Every error of every module is a `GamekeeperError`, so that callers can catch one."""
    own = set()
    for package in ("schemas", "detectors", "stream", "replay"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(("gamekeeper", *path.relative_to(ROOT).with_suffix("").parts))
            kinds = vars(importlib.import_module(name.removesuffix(".__init__"))).values()
            own |= {each for each in kinds if isinstance(each, type) and each.__module__ == name}
    errors = {each for each in own if issubclass(each, Exception)}
    assert len(errors) > 10
    others = {each for each in errors if not issubclass(each, GamekeeperError)}
    assert {f"{each.__module__}.{each.__name__}" for each in others} == CONTROL_FLOW


def test_schema_errors_carry_path_and_reason() -> None:
    """The path and the reason stand in the message and as attributes."""
    error = SchemaError("$.labels[3]", "is negative")
    assert (error.path, error.reason) == ("$.labels[3]", "is negative")
    assert str(error) == "$.labels[3]: is negative"
