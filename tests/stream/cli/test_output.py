"""Tables that fit a terminal, and progress that is told where there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gamekeeper.stream.cli import progress as telling
from gamekeeper.stream.cli.output import NARROW, print_table, print_text, wide_option
from gamekeeper.stream.cli.progress import progress

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)
WORDS = "somewhat "


def printed(act: Callable[[], None], *arguments: str) -> str:
    """Run something as a command whose stdout is a file."""
    command = click.command()(wide_option(act))
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@given(st.lists(st.tuples(TEXTS, TEXTS, st.integers(), st.floats()), max_size=3))
def test_no_line_is_wider_than_a_terminal(rows: list[tuple[Any, ...]]) -> None:
    """Whatever an account calls itself, in whatever script."""
    text = printed(lambda: print_table(["account", "a long heading", "n", "x"], rows))
    assert max(map(cell_len, text.split("\n"))) <= NARROW


def test_cells_are_wrapped_between_words() -> None:
    """A long text has several lines, in which every word is whole."""
    text = printed(lambda: print_table(["name", "text"], [["a", WORDS * 20]]))
    assert text.startswith("name")
    assert len(text.splitlines()) == 5
    assert set(" ".join(text.splitlines()[2:]).split()) == {"a", WORDS.strip()}


def test_what_has_no_room_becomes_blocks() -> None:
    """Too many columns: a line for each, all values whole."""
    names = [f"column_{number}" for number in range(12)]
    rows = [[f"value_{number}" * 2 for number in range(12)], [None] * 12]
    lines = printed(lambda: print_table(names, rows)).splitlines()
    assert len(lines) == 25
    assert lines[0].split() == ["column_0:", "value_0value_0"]
    assert lines[12].strip() == ""


def test_wide_shows_all() -> None:
    """With --wide, every column is there, in full and in one line."""
    names = [f"column_{number}" for number in range(12)]
    rows = [[WORDS * 4] * 12]
    narrow = printed(lambda: print_table(names, rows, brief=names[:1]))
    wide = printed(lambda: print_table(names, rows, brief=names[:1]), "--wide")
    assert [name in narrow for name in names] == [True] + [False] * 11
    assert [line.count(WORDS.strip()) for line in wide.splitlines()] == [0, 0, 48]


def test_nested_values_read_as_text() -> None:
    """No JSON in a cell: a few words, and with --wide all of it."""
    evidence = {"w": 0.5, "near": [{"query": 3, "distance": 0.25}], "of": list(range(9))}
    narrow = printed(lambda: print_table(["evidence"], [[evidence]]))
    wide = printed(lambda: print_table(["evidence"], [[evidence]]), "--wide")
    assert "w 0.5, near <1 items>, of <9 items>" in narrow
    assert "w 0.5, near ((query 3, distance 0.25)), of (0, 1, 2, 3, 4, 5, 6, 7, 8)" in wide
    assert not set('{}[]"') & set(narrow + wide)


def test_nothing_moves_the_cursor() -> None:
    """Names from outside are data, in cells, headings and blocks alike."""
    evil = "a\x1b[2J\r\nb [bold]c[/bold]"
    text = printed(lambda: print_table([evil, "n"], [[evil, 1]]))
    text += printed(lambda: print_table([evil] * 9, [[evil] * 9]))
    assert not {"\x1b", "\r"} & set(text)
    assert "[bold]" in text


def test_prose_is_wrapped_and_paths_stay_whole() -> None:
    """What is to be copied is not cut."""
    path = "/tmp/" + "folder/" * 20
    text = printed(lambda: print_text(f"{WORDS * 12}{path} {WORDS}"))
    assert path in text.splitlines()
    assert all(cell_len(line) <= NARROW for line in text.splitlines() if line != path)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is told of progress, as soon as it may be."""
    lines: list[str] = []
    monkeypatch.setattr(telling, "EVERY", 0.001)
    monkeypatch.setattr(telling, "warn", lines.append)
    return lines


def test_progress_is_told_where_there_is_no_terminal(told: list[str]) -> None:
    """A line now and then: what, how many of how many, also while nothing advances."""
    tick = threading.Event()
    with progress() as bar:
        task = bar.add_task("reading", total=None)
        while not told:
            tick.wait(0.001)
        assert told[0] == "reading, 0 s"
        bar.update(task, description="queries", completed=3, total=9)
        while not told[-1].startswith("queries 3 of 9, "):
            tick.wait(0.001)
    count = len(told)
    assert not [each for each in threading.enumerate() if "_tell" in each.name]
    assert len(told) == count
