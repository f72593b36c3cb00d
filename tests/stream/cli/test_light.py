"""Help and usage errors answer at once: a command's libraries are loaded when it does its work."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from gamekeeper.stream.cli.root import main
from support.processes import python

HEAVY = ("torch", "faust", "duckdb", "pyarrow", "faiss", "scipy", "altair", "art", "sklearn")
CALL = f"""
import sys
from gamekeeper.stream.cli.main import main
try:
    main()
finally:
    print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Spell every command; of the attacks, which are all made alike, the first."""
    context = click.Context(group)
    names = group.list_commands(context)
    for name in names[:2] if path == ("attack",) else names:
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = list(commands())
INCOMPLETE = [
    ("record",),
    ("play",),
    ("bench",),
    ("bench", "combined"),
    ("evaluate", "sample"),
    ("evaluate", "--out", "x"),
    ("victim", "train"),
    ("victim", "train", "sample", "--layers", "none"),
    ("attack", "papernot"),
    ("attack", "papernot", "--budget", "1"),
    ("train",),
    ("train", "sample", "--size", "huge"),
    ("calibrate", "sample"),
    ("profile", "diff"),
    ("profile", "verify", "p.json"),
    ("verdicts", "show"),
    ("verdicts", "close"),
    ("sql", "--format", "xml"),
]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    """Each command's help is there without any library that takes long to load."""
    done = python(CALL, *words, "--help")
    assert done.returncode == 0, done.stderr
    assert re.search(r"Example: (\w+=\S+ )*gamekeeper", " ".join(done.stdout.split()))
    assert done.stderr.strip() == "loaded:"


@pytest.mark.parametrize("words", INCOMPLETE, ids=" ".join)
def test_what_is_missing_is_said_at_once(words: tuple[str, ...]) -> None:
    """A missing or wrong argument is a usage error before anything is loaded."""
    done = python(CALL, *words)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "loaded:"
    assert "Error: " in done.stderr
