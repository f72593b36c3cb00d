"""The demo catches every attacker, flags nobody else, and says what to do next."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from gamekeeper.replay.cli.demo import command, demo
from gamekeeper.replay.demo import Report, Watched, processes
from gamekeeper.replay.demo.processes import Patience, Process, ProcessError, running
from support.processes import spawned


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
    doors = re.findall(
        r"^(?:every verdict|why one was caught|ask what you like): +(.+)$", done.stdout, re.M
    )
    assert len(doors) == 3
    for door in doors:
        opened = subprocess.run(
            shlex.split(door),
            input="SELECT 1",
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )
        assert opened.stdout
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


STOP = """
import os, signal, subprocess
import gamekeeper.replay.demo.processes as processes
from gamekeeper.stream.kafka.broker import EmbeddedBroker

class Popen(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        if "{name}" in arguments[0]:
            os.kill(os.getpid(), signal.{end})

subprocess.Popen = Popen
"""


@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("name", ["serve", "sink"])
def test_a_stop_while_it_starts_leaves_nothing_behind(name: str, end: str, tmp_path: Path) -> None:
    """Not even a process that was being started just then."""
    folder = tmp_path / "demo"
    before = STOP.format(name=name, end=end)
    with spawned("demo", "--out", folder, environ={}, before=before) as process:
        _, stderr = process.communicate(timeout=600)
    assert process.returncode == 1
    assert stderr.splitlines()[-1] == "Aborted!"
    assert "Traceback" not in stderr
    assert not processes_of(folder)


def processes_of(folder: Path) -> list[psutil.Process]:
    """List the living processes that were told of a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            told = [*process.cmdline(), *process.environ().values()]
            if any(str(folder) in each for each in told) and process.pid != os.getpid():
                found.append(process)
    return found


def test_a_slow_process_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as anything moves, however slowly; when nothing does, its log is quoted."""
    monkeypatch.setattr(processes, "STILL", -1.0)
    monkeypatch.setattr(processes, "_processor_seconds", lambda _: 0.0)
    with running(["sink", "--no-such-option"], {}, tmp_path) as child:
        while child.activity() == (0, 0):
            pass
        patience = Patience(child, "did not score all queries")
        with suppress(ProcessError):
            watch(child)
        for scored in range(5):
            patience.check(scored)
        with pytest.raises(ProcessError, match="did not score all queries, and nothing has moved"):
            patience.check(4)


def test_a_process_that_ends_is_told_with_its_log(tmp_path: Path):
    """The error quotes what the process said last."""
    bad = running(["sink", "--no-such-option"], {}, tmp_path)
    with bad as child, pytest.raises(ProcessError, match="no-such-option"):
        watch(child)


def watch(child: Process) -> None:
    """Check a process for some minutes."""
    for _ in range(1800):
        child.check()
        time.sleep(0.1)
