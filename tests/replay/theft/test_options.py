"""Options of attacks and evasions: told from the source, the same as the functions have them."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

from gamekeeper.replay.theft import Listed
from gamekeeper.replay.theft.attacks import ATTACKS, attack
from gamekeeper.replay.theft.evasions import EVASIONS, evasion
from gamekeeper.replay.theft.options import converted, describe
from gamekeeper.schemas.errors import SettingsError

ALL = [*((attack, name, entry) for name, entry in ATTACKS.items())]
ALL += [*((evasion, name, entry) for name, entry in EVASIONS.items())]


def options(function: Any) -> dict[str, Any]:
    """Ask the imported function for its keyword-only arguments, presets included."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.kind == each.KEYWORD_ONLY}


@pytest.mark.parametrize(("find", "name", "entry"), ALL, ids=[name for _, name, _ in ALL])
def test_what_is_told_is_what_is_there(find: Any, name: str, entry: Listed) -> None:
    """Docstring and options are the function's; an attack says what each option is for."""
    function = find(name)
    told = describe(entry)
    assert inspect.getdoc(function.func).startswith(told.doc)
    expected = options(function)
    assert told.options.keys() == expected.keys()
    for option, default in expected.items():
        assert told.options[option].help or find is evasion, f"{name} {option}: not in its Args"
        text = told.options[option].default
        expected_text = default if isinstance(default, str) else json.dumps(default)
        assert text == expected_text, f"{name} {option}"
        assert converted(function, {option: text}, name) == {option: default}


def test_texts_become_what_the_function_takes() -> None:
    """Numbers are numbers, words are words, and paths are paths."""

    def function(
        start: int,
        *,
        many: int = 1,
        much: float = 0.5,
        how: str = "so",
        where: Path | None = None,
    ) -> None: ...

    given = {"many": "3", "much": "2", "how": "else", "where": "some/folder"}
    took = converted(function, given, "it")
    assert took == {"many": 3, "much": 2.0, "how": "else", "where": Path("some/folder")}
    assert converted(function, {"where": "null"}, "it") == {"where": None}
    with pytest.raises(SettingsError, match="--set where=5: "):
        converted(function, {"where": "5"}, "it")


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("papernot", {"reservoire": "3"}, "--set reservoire: no option of papernot; it has reserv"),
        ("papernot", {"rng": "3"}, "no option of papernot"),
        ("tramer", {"reservoir": "3"}, "no option of tramer; it has none"),
        ("papernot", {"reservoir": "many"}, "--set reservoir=many: Expected `int`, got `str`"),
        ("papernot", {"reservoir": "1.5"}, "--set reservoir=1.5: Expected `int`"),
        ("papernot", {"reservoir": "0"}, "--set reservoir=0: Expected `int` >= 1"),
    ],
)
def test_other_options_and_values_are_refused(
    name: str, given: dict[str, str], reason: str
) -> None:
    """With the option, and what there is instead."""
    with pytest.raises(SettingsError, match=reason):
        converted(attack(name), given, name)
