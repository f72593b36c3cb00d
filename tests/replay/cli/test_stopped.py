"""SIGTERM or Ctrl-C to a command that has processes of its own: none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

SCRIPT = """
import time, click
from gamekeeper.replay.tune.processes import over
from gamekeeper.stream.cli.root import COMMANDS, Entry, main

@click.command()
def toil():
    list(over(time.sleep, [600, 601], 2))

COMMANDS["toil"] = Entry("__main__:toil", "replay", "Work as `gamekeeper bench` does.")
main()
"""
PATIENCE = 120
"""Seconds for a command to start its processes, and to end."""


def processes_of(group: int) -> list[int]:
    """List the processes of a process group that are not mere zombies."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):  # it has ended meanwhile
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def wait_until(group: int, at_least: int, at_most: int) -> None:
    """Wait until a group has so many processes; fail where that takes too long."""
    end, tick = time.monotonic() + PATIENCE, threading.Event()
    while not at_least <= len(processes_of(group)) <= at_most:
        assert time.monotonic() < end, processes_of(group)
        tick.wait(0.05)


@pytest.mark.parametrize(
    ("end", "arguments"),
    [
        (signal.SIGTERM, "toil"),
        (signal.SIGINT, "toil"),
        (signal.SIGTERM, "evaluate sample --jobs 2 --out results"),
    ],
)
def test_no_process_outlives_a_command_that_is_stopped(
    end: signal.Signals, arguments: str, tmp_path: Path
) -> None:
    """A service manager that stops only the command itself leaves nothing behind."""
    command = [sys.executable, "-c", SCRIPT, *arguments.split()]
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True) as process:
        try:
            # Python's resource tracker is the second, a pool's processes are the others.
            wait_until(process.pid, 4, 4)
            process.send_signal(end)
            assert process.wait(PATIENCE) == 1
            wait_until(process.pid, 0, 0)
        finally:
            for each in processes_of(process.pid):
                os.kill(each, signal.SIGKILL)
