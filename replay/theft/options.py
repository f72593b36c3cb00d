"""An attack's or evasion's own options: told from its source, so that help imports no torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, get_type_hints

import msgspec

from gamekeeper.replay.theft.listing import Listed
from gamekeeper.schemas.errors import SettingsError

_ARGUMENT: Final = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
"""An entry of a docstring's section of arguments: its name, and its text with further lines."""

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
    tree = _parse(module)
    [function] = [
        each for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == name
    ]
    doc, _, arguments = (ast.get_docstring(function) or "").partition("\n\nArgs:\n")
    helps = dict(_ARGUMENT.findall(arguments))
    options = {}
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        text = _text(module, default)
        if argument.arg in entry.options:
            text = spelled(entry.options[argument.arg])
        options[argument.arg] = Option(text, " ".join(helps.get(argument.arg, "").split()))
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


def _parse(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    return ast.parse(Path(str(spec and spec.origin)).read_text(encoding="utf-8"))


def _text(module: str, default: ast.expr | None) -> str:
    """Spell a default; a constant's name, the constant's value, wherever that is assigned."""
    if default is None:
        return ""
    if not isinstance(default, ast.Name):
        try:
            return spelled(ast.literal_eval(default))
        except ValueError:  # a formula
            return ast.unparse(default)
    for each in _parse(module).body:
        match each:
            case (
                ast.Assign(targets=[ast.Name(id=default.id)])
                | ast.AnnAssign(target=ast.Name(id=default.id))
            ):
                return _text(module, each.value)
            case ast.ImportFrom(module=str(source), names=names) if any(
                name.name == default.id for name in names
            ):
                return _text(source, default)
    return default.id
