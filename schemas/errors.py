"""The one error tree: everything Gamekeeper raises on purpose is a `GamekeeperError`."""

from __future__ import annotations


class GamekeeperError(Exception):
    """Root of all errors; its message says what to do next."""


class SchemaError(GamekeeperError):
    """Something that crossed a boundary does not follow its contract.

    `path` is the way to the fault (`$.inputs.shape[1]`), `reason` what is wrong there.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class WrongKeyError(SchemaError):
    """The record's key is not the account that its value names."""

    def __init__(self) -> None:
        super().__init__("$.account", "is not the record's key; key events by their account")


class ProfileError(GamekeeperError):
    """A profile, a detector's name or one of its options is not usable."""


class StateError(GamekeeperError):
    """Saved detector state cannot be restored: written by another version, or damaged."""


class BrokerError(GamekeeperError):
    """Kafka refused, failed or stayed away; names the topic, partition and offset concerned."""


class AbsentError(BrokerError):
    """No broker answers, for now: who can wait may ask again."""


class TraceError(GamekeeperError):
    """A recorded trace or a table cannot be read or written; names the file."""


class SettingsError(GamekeeperError):
    """A setting from the environment, a file or the command line is not usable."""
