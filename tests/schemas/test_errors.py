"""The error tree: one root, and a path that can be read back."""

from gamekeeper.schemas import errors
from gamekeeper.schemas.errors import GamekeeperError, SchemaError


def test_one_root() -> None:
    """Every error of the package is a `GamekeeperError`, so that callers can catch one."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) > 1
    assert all(issubclass(kind, GamekeeperError) for kind in kinds)


def test_schema_errors_carry_path_and_reason() -> None:
    """The path and the reason stand in the message and as attributes."""
    error = SchemaError("$.labels[3]", "is negative")
    assert (error.path, error.reason) == ("$.labels[3]", "is negative")
    assert str(error) == "$.labels[3]: is negative"
