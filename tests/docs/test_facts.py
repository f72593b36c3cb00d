"""The generated pages are true and whole: every name of the code is on them, with its text."""

from __future__ import annotations

import doctest
import inspect
import re

import pytest

import prose
from facts import FACTS, defaults, variable_helps
from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import DeclaredHabit
from gamekeeper.detectors.engine.habits import EXPLAINS
from gamekeeper.replay.honest import HABITS
from gamekeeper.replay.tables.sql import view_help
from gamekeeper.replay.theft.attacks import ATTACKS
from gamekeeper.replay.theft.evasions import EVASIONS
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables.columns import TABLES
from gamekeeper.schemas.verdict import Verdict
from gamekeeper.stream.cli.root import COMMANDS
from gamekeeper.stream.kafka import Settings, variables
from gamekeeper.stream.tap import QueryTap
from gamekeeper.stream.worker.metrics import Metrics
from support.pages import PAGES, ROOT, text_of


def rows(text: str) -> list[list[str]]:
    """Read the tables' rows, headings included."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [re.split(r"(?<!\\)\|", line.strip("|")) for line in lines]
    return [[cell.strip() for cell in row] for row in cells if "---" not in row[0]]


def named(text: str) -> set[str]:
    """Name what the first cells have in code."""
    return {row[0].strip("`") for row in rows(text)}


def test_settings_name_every_variable() -> None:
    """The docstrings describe each variable that is read, once, and no other."""
    logging = re.findall(r'"(GAMEKEEPER_[A-Z_]+)"', (ROOT / "stream/logs.py").read_text())
    described = [name for group in variable_helps().values() for name in group]
    assert sorted(described) == sorted([*variables(), *logging])
    assert set(described) <= named(FACTS["settings"]())


def test_settings_tell_the_true_defaults() -> None:
    """Setting every variable to the default that is shown changes nothing."""
    shown = {
        name.strip("`"): default.strip("`")
        for name, default, *_ in rows(FACTS["settings"]())
        if name.startswith("`")
    }
    assert Settings.from_env(shown) == Settings()
    assert shown["GAMEKEEPER_PARTITIONS"] == str(Settings().partitions)
    assert {name for name, value in shown.items() if value} >= {
        name for name, value in defaults().items() if value != ""
    }


@pytest.mark.parametrize("name", DETECTORS)
def test_detector_options_are_told(name: str) -> None:
    """Each option of a detector has its default and a text."""
    told = rows(FACTS["detector"](name))[1:]
    options = ["threshold", *inspect.signature(DETECTORS[name]).parameters]
    assert [row[0].strip("`") for row in told] == [f"{name}.{option}" for option in options]
    assert all(len(row) == 3 and row[1] and row[2] for row in told)


def test_catalogs_are_told() -> None:
    """Detectors, attacks, evasions and habits have rows, and every detector its two sections."""
    for name in DETECTORS:
        assert f"```{{generated}} detector {name}\n" in text_of("docs/reference/detectors.md")
        assert f"\n## `{name}`: " in text_of("docs/explanation/detectors.md")
    assert set(DETECTORS) <= named(FACTS["detectors"]())
    assert set(ATTACKS) <= named(FACTS["attacks"]())
    assert set(EVASIONS) <= named(FACTS["evasions"]())
    assert set(HABITS) <= named(FACTS["habits"]())


@pytest.mark.parametrize(("name", "kind"), [("query-event", QueryEvent), ("verdict", Verdict)])
def test_messages_are_told(name: str, kind: type[QueryEvent | Verdict]) -> None:
    """Each field of a message has a type and a text."""
    told = {row[0].strip("`"): row for row in rows(FACTS["message"](name))}
    assert set(kind.__struct_fields__) <= set(told)
    assert all(told[field][1] and told[field][3] for field in kind.__struct_fields__)


def test_declarations_are_told() -> None:
    """Each field of a declared habit has a type and a text, and each habit what it explains."""
    told = {row[0].strip("`"): row for row in rows(FACTS["declaration"]())}
    assert set(DeclaredHabit.__struct_fields__) | set(EXPLAINS) <= set(told)
    assert all(told[field][1] and told[field][3] for field in DeclaredHabit.__struct_fields__)
    assert all(kind in told[habit][1] for habit, kinds in EXPLAINS.items() for kind in kinds)


@pytest.mark.parametrize("name", TABLES)
def test_columns_are_told(name: str) -> None:
    """Each column of a table has its row, below what the code says of the table."""
    text = FACTS["columns"](name)
    assert text.startswith("One row per ")
    assert set(TABLES[name].names) <= named(text)


def test_views_and_tap_options_are_told() -> None:
    """Each view of `sql` and each option of the tap has its row."""
    assert set(view_help()) <= named(FACTS["views"]())
    assert set(inspect.signature(QueryTap).parameters) <= named(FACTS["tap"]())
    assert all(row[2] for row in rows(FACTS["tap"]())[1:])


def test_metrics_are_told_as_they_are_served() -> None:
    """What Prometheus reads of a worker is what the page names."""
    served = re.findall(rb"^# TYPE (gamekeeper_\w+) (?!gauge\n.*_created)", Metrics().text(), re.M)
    names = {name.decode() for name in served if not name.endswith(b"_created")}
    read = {"gamekeeper_consumer_lag", "gamekeeper_profile_info"}
    read |= {f"gamekeeper_promise_{each}" for each in ("lives", "lives_alarmed", "suspended")}
    assert named(FACTS["metrics"]()) - {"metric"} == names | read


def test_alerts_watch_metrics_that_there_are() -> None:
    """Each alert has what it says; the page names no metric beyond those that are served."""
    told = rows(FACTS["alerts"]())[1:]
    assert all(row[1] in {"page", "ticket"} and row[2] for row in told)


def test_the_command_line_page_has_every_command() -> None:
    """Each command of `gamekeeper` is listed where sphinx-click is told what to show."""
    listed = re.findall(r":commands: (.+)", text_of("docs/reference/command-line.md"))
    assert sorted([*listed[0].split(", "), "attack", "habit"]) == sorted(COMMANDS)


def test_every_fact_has_a_page() -> None:
    """No table is made for nobody."""
    asked = {
        name for page in PAGES for name in re.findall(r"\{generated\} ([\w-]+)", text_of(page))
    }
    assert asked == set(FACTS)


def test_prose_examples() -> None:
    """The examples of the pieces that facts are made with hold."""
    result = doctest.testmod(prose)
    assert result.attempted > 0
    assert result.failed == 0


def test_faults_are_shown_by_tests_that_there_are() -> None:
    """The page of faults names tests, each of which is there."""
    shown = re.findall(r"`(test_\w+)`", (ROOT / "docs/results/faults.md").read_text())
    code = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(shown) > 30
    assert not set(shown) - set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))
