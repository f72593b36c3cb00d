"""An attack's or evasion's own options: told from its source, so that help imports no torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints

import griffe
import msgspec

from gamekeeper.replay.theft.listing import Listed
from gamekeeper.schemas.errors import SettingsError

_Count = Annotated[int, msgspec.Meta(ge=1)]


class Option(NamedTuple):
    """An option's default, as `--set` takes it, and what it is for."""

    default: str
    help: str


class Described(NamedTuple):
    """What a function does, in its docstring's words, and its options."""

    doc: str
    options: dict[str, Option]


def describe(entry: Listed) -> Described:
    """Read the keyword-only arguments of a listed function without importing its module."""
    module, _, name = entry.target.partition(":")
    function = _read(module)[name]
    doc, helps = _told(function)
    options = {}
    for each in function.parameters:
        if each.kind is griffe.ParameterKind.keyword_only:
            text = _text(function.module, each.default)
            if each.name in entry.options:
                text = spelled(entry.options[each.name])
            options[each.name] = Option(text, helps.get(each.name, ""))
    return Described(doc, options)


def converted(function: Callable[..., Any], given: Mapping[str, str], what: str) -> dict[str, Any]:
    """Turn options' texts into the types that a function takes.

    Whole numbers are counts, at least 1. Raises `SettingsError` on an option that it has not and on
    a value that does not fit.
    """
    original = getattr(function, "func", function)
    known = [
        name
        for name, parameter in inspect.signature(original).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    hints = get_type_hints(original)
    for name in given:
        if name not in known:
            there = f"it has {', '.join(known)}" if known else "it has none"
            raise SettingsError(f"--set {name}: no option of {what}; {there}")
    return {name: _value(name, text, hints[name]) for name, text in given.items()}


def _value(name: str, text: str, kind: Any) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    try:
        return msgspec.convert(value, _Count if kind is int else kind, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise SettingsError(f"--set {name}={text}: {error}") from error


def _path(kind: type[Path], value: Any) -> Path:
    return kind(value)


def spelled(value: Any) -> str:
    """Spell a value as `--set` takes it: JSON, or bare text.

    >>> spelled("crop"), spelled(0.5), spelled(None), spelled(True)
    ('crop', '0.5', 'null', 'true')
    """
    return value if isinstance(value, str) else json.dumps(value)


@cache
def _read(module: str) -> griffe.Module:
    spec = importlib.util.find_spec(module)
    path = Path(str(spec and spec.origin))
    return griffe.visit(module, path, path.read_text(encoding="utf-8"))


def _told(function: griffe.Object) -> tuple[str, dict[str, str]]:
    """Give the text of a docstring in Google's style, and what it says of each argument."""
    text, helps = "", {}
    for section in function.docstring.parse("google") if function.docstring else ():
        match section:
            case griffe.DocstringSectionText():
                text = text or section.value
            case griffe.DocstringSectionParameters():
                helps = {each.name: " ".join(each.description.split()) for each in section.value}
    return text, helps


def _text(module: griffe.Module, default: str | griffe.Expr | None) -> str:
    """Spell a default; a constant's name, the constant's value, wherever that is assigned."""
    if isinstance(default, griffe.ExprName):
        return _constant(module.resolve(default.name))
    try:
        return spelled(ast.literal_eval(str(default)))
    except ValueError:  # a formula
        return str(default)


def _constant(path: str) -> str:
    module, _, name = path.rpartition(".")
    found = _read(module)[name]
    return _constant(found.target_path) if found.is_alias else _text(found.module, found.value)
