"""What goes wrong with a victim."""

from __future__ import annotations

from gamekeeper.schemas.errors import GamekeeperError


class VictimError(GamekeeperError):
    """There is no such victim, or it answers in no usable way; the message says what would do."""
