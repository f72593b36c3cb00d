"""The demo catches every attacker, flags nobody else, and says what to do next."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from gamekeeper.replay.cli.demo import command, demo
from gamekeeper.replay.demo import Report, Watched
from gamekeeper.replay.demo.processes import Process, ProcessError, running


def test_the_demo_ends_well_and_its_last_line_works(tmp_path: Path):
    """Every attacker is caught, no honest account is, and the SQL line finds the verdicts."""
    folder = tmp_path / "demo"
    started = [sys.executable, "-m", "gamekeeper.stream.cli.main"]
    done = subprocess.run(
        [*started, "demo", "--seconds", "2", "--out", str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^(\d+) of \1 attackers caught$", done.stdout, re.MULTILINE)
    assert re.search(r"^0 of \d+ honest accounts flagged$", done.stdout, re.MULTILINE)
    line = done.stdout.strip().splitlines()[-1].removeprefix("next: ")
    answer = subprocess.run(
        [*shlex.split(line), "--format", "json"],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    caught = [row for row in done.stdout.splitlines() if "caught at query" in row]
    assert len(answer.stdout.splitlines()) == len(caught)


@pytest.mark.parametrize(
    ("started", "spelt"),
    [
        (".venv/bin/gamekeeper", ".venv/bin/gamekeeper"),
        ("/on the path/gamekeeper", "gamekeeper"),
        (
            "/somewhere/cli/main.py",
            f"{shlex.quote(sys.executable)} -m gamekeeper.stream.cli.main",
        ),
    ],
)
def test_the_command_is_spelt_as_it_was_started(
    started: str, spelt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said to come next can be pasted, on the path or not."""
    monkeypatch.setattr(sys, "argv", [started, "demo"])
    monkeypatch.setattr(shutil, "which", lambda _: "/on the path/gamekeeper")
    assert command() == spelt


def test_a_used_folder_is_refused(tmp_path: Path):
    """The demo writes into no folder that holds something."""
    (tmp_path / "something").touch()
    result = CliRunner().invoke(demo, ["--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "not empty" in result.output


@pytest.mark.parametrize(("kind", "missed", "false"), [("papernot", 1, 0), ("benign", 0, 0)])
def test_an_attacker_without_a_verdict_is_missed(kind: str, missed: int, false: int):
    """What the exit code rests on."""
    report = Report({"a": Watched(kind)}, 1.0)
    assert (len(report.missed), len(report.false_alarms)) == (missed, false)


def test_a_process_that_ends_is_told_with_its_log(tmp_path: Path):
    """The error quotes what the process said last."""
    bad = running(["sink", "--no-such-option"], {}, tmp_path)
    with bad as child, pytest.raises(ProcessError, match="no-such-option"):
        watch(child)


def watch(child: Process) -> None:
    """Check a process for up to a minute."""
    for _ in range(600):
        child.check()
        time.sleep(0.1)
