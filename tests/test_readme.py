"""The documents' examples: looked up all, and run where `<!-- runs -->` stands before the block."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.stream.kafka import EmbeddedBroker, Settings, variables
from support.commands import find

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "SECURITY.md"]
LOGGING = re.findall(r'"(GAMEKEEPER_[A-Z_]+)"', (ROOT / "stream/logs.py").read_text())
VARIABLES = [*variables(), *LOGGING]
SHELL_ENDS = {"|", "||", "&&", "&", ";", ">", ">>"}


class Block(NamedTuple):
    """A fenced block: whether it is marked to be run, its language, its text."""

    runs: bool
    language: str
    text: str


def blocks(document: str) -> list[Block]:
    """Read the fenced blocks of a document."""
    return cut((ROOT / document).read_text())


def cut(text: str) -> list[Block]:
    """Cut the fenced blocks out of a text."""
    found = re.findall(r"^(<!-- runs -->\n+)?```(\w+)\n(.*?)^```$", text, re.M | re.S)
    return [Block(bool(mark), language, text) for mark, language, text in found]


def command_lines(document: str) -> Iterator[list[str]]:
    """List the arguments of each `gamekeeper` command, in blocks and in running text."""
    text = (ROOT / document).read_text()
    lines = "\n".join(block.text for block in blocks(document) if block.language == "sh")
    spans = re.findall(r"`(gamekeeper [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    for line in [*lines.replace("\\\n", " ").splitlines(), *spans]:
        words = shlex.split(line, comments=True)
        if words and words[0] == "gamekeeper":
            ends = [index for index, word in enumerate(words) if word in SHELL_ENDS]
            yield [word for word in words[1 : min(ends, default=None)] if word != "..."]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document: str) -> None:
    """Every command and option of `gamekeeper` that the documents name is there."""
    for arguments in command_lines(document):
        find(arguments)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_targets_exist(document: str) -> None:
    """Every `make` target that the documents name is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    text = (ROOT / document).read_text()
    named = set(re.findall(r"^ *(?:\w+=\S+ )?make (\w+)", text, re.M)) | set(
        re.findall(r"`make (\w+)", text)
    )
    assert named <= set(re.findall(r"^(\w+):", makefile, re.M))


def test_environment_table_is_complete() -> None:
    """README's table names each variable that the settings read, and the true default."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", README, re.M)
    assert sorted(name for name, _ in rows) == sorted(VARIABLES)
    defaults = {"KAFKA_BOOTSTRAP_SERVERS": Settings().brokers}
    for group, infix in (
        (Settings(), ""),
        (Settings().topics, "TOPIC_"),
        (Settings().security, ""),
    ):
        for field in group.__struct_fields__:
            defaults[f"GAMEKEEPER_{infix}{field.upper()}"] = getattr(group, field)
    for name, stated in rows:
        if name in LOGGING:
            continue
        default = defaults.get(name, "")
        expected = str(default).lower() if isinstance(default, bool) else str(default)
        number = re.sub(r"\.0$", "", expected)
        assert stated.strip("`") in (expected, number), name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_variables_exist(document: str) -> None:
    """Every `GAMEKEEPER_...` variable in the documents is one that the settings read."""
    named = set(re.findall(r"\bGAMEKEEPER_[A-Z_]+", (ROOT / document).read_text()))
    assert named <= set(VARIABLES)


def test_detector_options_exist() -> None:
    """Every detector and option that README names, such as `prada.mode`, is one."""
    for name, option in re.findall(r"\b(prada(?:-v1)?)\.([a-z]+)\b", README):
        assert option in {"threshold", *inspect.signature(DETECTORS[name]).parameters}


def test_python_blocks_compile() -> None:
    """Every Python example is at least Python."""
    for number, block in enumerate(blocks("README.md")):
        if block.language == "python":
            compile(block.text, f"README block {number}", "exec")


def test_tap_examples_fit_the_code() -> None:
    """The examples of tapping a server define what they say, on a stand-in for network and app."""
    section = README[README.index("## Tap your") : README.index("## Run the service")]
    names: dict[str, object] = {"network": lambda images: images, "app": object()}
    for _, language, text in cut(section):
        if language == "python":
            exec(text, names)  # connects to nothing: no request is recorded on the first tap
    assert {"answer", "predict", "app"} <= set(names)


def test_marked_blocks_run(tmp_path: Path) -> None:
    """The marked examples run as they stand, one after the other, with a broker on loopback."""
    marked = [block for block in blocks("README.md") if block.runs]
    assert marked
    with EmbeddedBroker() as broker:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "KAFKA_BOOTSTRAP_SERVERS": broker.address}
        for block in marked:
            shell = ["bash", "-euo", "pipefail", "-c", block.text]
            command = shell if block.language == "sh" else [sys.executable, "-c", block.text]
            run = subprocess.run(
                command,
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=180,
            )
            assert run.returncode == 0, f"{block.text}\n{run.stdout}\n{run.stderr}"
