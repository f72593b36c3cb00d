"""A Gamekeeper command as a child process with a log file, ended with its parent's block."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gamekeeper.schemas.errors import GamekeeperError

GRACE = 30.0
"""Seconds that a process gets to end by itself after SIGTERM."""


class ProcessError(GamekeeperError):
    """A child process did not start, ended early or fell silent; names its log."""


class Process:
    """A running `gamekeeper` subcommand; what it prints goes to `log`."""

    def __init__(self, child: subprocess.Popen[bytes], name: str, log: Path) -> None:
        self._child = child
        self._name = name
        self._log = log

    def check(self) -> None:
        """Raise `ProcessError`, with the end of its log, if the process has ended."""
        if self._child.poll() is not None:
            raise self.fault(f"ended with status {self._child.returncode}")

    def fault(self, what: str) -> ProcessError:
        """Make an error that quotes the end of the log."""
        words = self._log.read_text(errors="replace")[-2000:].strip()
        return ProcessError(f"gamekeeper {self._name} {what}; see {self._log}:\n{words}")

    def stop(self) -> None:
        """Ask the process to end and wait; raise `ProcessError` if it does not end well."""
        self._child.send_signal(signal.SIGTERM)
        try:
            status = self._child.wait(GRACE)
        except subprocess.TimeoutExpired as error:
            raise self.fault(f"did not stop within {GRACE:.0f} s") from error
        if status:
            raise self.fault(f"ended with status {status}")


@contextmanager
def running(
    arguments: Sequence[str], environ: Mapping[str, str], folder: Path
) -> Iterator[Process]:
    """Run `gamekeeper ARGUMENTS` with additional environment; at the end it is gone."""
    log = folder / f"{arguments[0]}.log"
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603  our own command, no shell
            [sys.executable, "-m", "gamekeeper.stream.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environ},
        )
    try:
        yield Process(child, arguments[0], log)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
