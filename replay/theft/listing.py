"""Named things that are imported only when they are used: attacks and evasions."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from gamekeeper.schemas.errors import GamekeeperError


class UnknownNameError(GamekeeperError):
    """There is no attack or evasion of this name; the message lists what there is."""


class Listed(NamedTuple):
    """Where a function is, what it does in one line, the paper's section, and set options."""

    target: str
    summary: str
    paper: str
    options: Mapping[str, Any] = {}


def resolve(entries: Mapping[str, Listed], name: str, what: str) -> Callable[..., Any]:
    """Import the function of this name and fill in its options; raises `UnknownNameError`."""
    entry = entries.get(name)
    if entry is None:
        close = difflib.get_close_matches(name, entries, 1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise UnknownNameError(f"unknown {what} {name!r}{hint} There are: {', '.join(entries)}")
    module, _, function = entry.target.partition(":")
    return partial(getattr(importlib.import_module(module), function), **entry.options)
