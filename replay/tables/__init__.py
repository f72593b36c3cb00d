"""The tables asked: SQL over them, and verdicts read, shown and answered."""

from gamekeeper.replay.tables.orders import order_close
from gamekeeper.replay.tables.sql import (
    Answer,
    absence,
    connect,
    describe,
    lacking,
    missing,
    run,
    whole,
    words,
)
from gamekeeper.replay.views import view_help

__all__ = [
    "Answer",
    "absence",
    "connect",
    "describe",
    "lacking",
    "missing",
    "order_close",
    "run",
    "view_help",
    "whole",
    "words",
]
