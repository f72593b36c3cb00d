"""Pieces of Markdown, and docstrings taken apart."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

_ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_BULLET = re.compile(r"^\* `([A-Z_]+)`: (.*(?:\n {2}\S.*)*)", re.MULTILINE)
_HEADING = re.compile(r"^(\w[\w ]*):$", re.MULTILINE)


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write a table; cells are Markdown.

    >>> print(table(["a", "b"], [["`x|y`", 1]]))
    | a | b |
    | --- | --- |
    | `x\\|y` | 1 |
    """
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def code(value: object) -> str:
    """Spell a value as code; nothing for None and the empty text.

    >>> code(True), code(10.0), code(None)
    ('`true`', '`10`', '')
    """
    if value is None or str(value) == "":
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text.removesuffix('.0')}`" if isinstance(value, float) else f"`{text}`"


def arguments(function: Any) -> dict[str, str]:
    """Read the texts of a docstring's `Args:`."""
    _, _, listed = (inspect.getdoc(function) or "").partition("Args:\n")
    return {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(listed)}


def bullets(docstring: str) -> dict[str, str]:
    """Read the variables that a docstring lists, as "* `NAME`: text"."""
    found = _BULLET.findall(inspect.cleandoc(docstring))
    return {name: " ".join(text.split()).removesuffix(".") for name, text in found}


def groups(docstring: str) -> dict[str, dict[str, str]]:
    """Cut a docstring's lists of variables apart by the headings above them."""
    parts = _HEADING.split(inspect.cleandoc(docstring))
    return {name: bullets(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def notes(module: ModuleType) -> dict[str, str]:
    """Read the strings that stand below a module's constants."""
    body = ast.parse(inspect.getsource(module)).body
    found = {}
    for first, second in itertools.pairwise(body):
        match first, second:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(text))):
                found[name] = inspect.cleandoc(text)
    return found


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
