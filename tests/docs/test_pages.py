"""What pages name is there: commands, options, variables, targets, modules, files, links."""

from __future__ import annotations

import importlib
import inspect
import re
from contextlib import suppress
from pathlib import Path

import click
import pytest

from facts import variable_helps
from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import Policy
from support.commands import find
from support.pages import PAGES, ROOT, blocks, command_lines, text_of

VARIABLES = {name for group in variable_helps().values() for name in group}


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest) -> str:
    """Each page, by its path in the repository."""
    return str(request.param)


def test_commands_exist(page: str) -> None:
    """Every command and option of `gamekeeper` that a page names is there."""
    for arguments in command_lines(page):
        with suppress(click.exceptions.Exit):  # --version
            find(arguments)


def test_targets_exist(page: str) -> None:
    """Every `make` target that a page names is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    text = text_of(page)
    named = set(re.findall(r"^ *(?:\w+=\S+ )?make (\w+)(?= *(?:#|$|ARGS))", text, re.M)) | set(
        re.findall(r"`make (\w+)", text)
    )
    assert named <= set(re.findall(r"^(\w+):", makefile, re.M))


def test_variables_exist(page: str) -> None:
    """Every `GAMEKEEPER_...` variable on a page is one that the settings read."""
    assert set(re.findall(r"\bGAMEKEEPER_[A-Z_]+", text_of(page))) <= VARIABLES


def test_detector_options_exist(page: str) -> None:
    """Every detector's option that a page names, such as `prada.mode`, is one."""
    known = {
        f"{name}.{option}"
        for name, kind in DETECTORS.items()
        for option in ("threshold", *inspect.signature(kind).parameters)
    } | {f"policy.{option}" for option in Policy.__struct_fields__}
    names = "|".join((*DETECTORS, "policy"))
    assert set(re.findall(rf"(?:`|--set )((?:{names})\.[a-z_]+)\b", text_of(page))) <= known


def test_python_compiles(page: str) -> None:
    """Every Python example is at least Python."""
    for number, block in enumerate(blocks(page)):
        if block.language == "python":
            compile(block.text, f"{page}, block {number}", "exec")


def test_modules_exist(page: str) -> None:
    """Every module that a page names can be imported, and has the name that follows it."""
    pattern = r"\bgamekeeper(?:\.(?:schemas|detectors|stream|replay))(?:\.\w+)*"
    for name in sorted(set(re.findall(pattern, text_of(page)))):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), name


def test_files_exist(page: str) -> None:
    """Every file of the repository that a page names in code is there."""
    roots = "detectors|docker|docs|replay|schemas|stream|tests"
    named = re.findall(rf"(?:`|python |ARGS=)((?:{roots})/[\w./-]+\.\w+)", text_of(page))
    assert [path for path in named if "NAME" not in path and not (ROOT / path).exists()] == []


def test_links_lead_somewhere(page: str) -> None:
    """Every relative link names a file of the repository, and a heading that is in it."""
    for target, anchor in re.findall(
        r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", text_of(page)
    ):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), f"{target}#{anchor}"


def anchors(path: Path) -> set[str]:
    """Spell the headings of a page as links do."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
