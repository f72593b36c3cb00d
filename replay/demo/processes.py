"""A Gamekeeper command as a child process with a log file, ended with its parent's block."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gamekeeper.schemas.errors import GamekeeperError

STILL = 60.0
"""Seconds in which nothing moves, after which a process is given up."""
WORKING = 5
"""Seconds of processor time that a process takes only where it works, and not while it idles."""


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

    def activity(self) -> tuple[int, int]:
        """Say how much it has said and worked so far; equal where it does neither."""
        return self._log.stat().st_size, int(_processor_seconds(self._child.pid) / WORKING)

    def stop(self) -> None:
        """Ask the process to end and wait; raise `ProcessError` if it does not end well."""
        self._child.send_signal(signal.SIGTERM)
        patience = Patience(self, "did not stop")
        while True:
            try:
                status = self._child.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                patience.check()
        if status:
            raise self.fault(f"ended with status {status}")


class Patience:
    """Waits for a process for as long as anything moves: a slow machine is no fault."""

    def __init__(self, process: Process, complaint: str) -> None:
        """Begin to wait; `complaint` says what the process did not do."""
        self._process = process
        self._complaint = complaint
        self._seen: object = None
        self._since = time.monotonic()

    def check(self, *progress: object) -> None:
        """Raise `ProcessError` where neither progress nor the process has moved for a minute."""
        now, seen = time.monotonic(), (progress, self._process.activity())
        if seen != self._seen:
            self._seen, self._since = seen, now
        elif now - self._since > STILL:
            raise self._process.fault(f"{self._complaint}, and nothing has moved for {STILL:.0f} s")


def _processor_seconds(pid: int) -> float:
    """Read how long a process has worked; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(
    arguments: Sequence[str], environ: Mapping[str, str], folder: Path
) -> Iterator[Process]:
    """Run `gamekeeper ARGUMENTS` with additional environment; at the end it is gone.

    In a session of its own: Ctrl-C is for who started it, who then ends it.
    """
    log = folder / f"{arguments[0]}.log"
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603  our own command, no shell
            [sys.executable, "-m", "gamekeeper.stream.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **environ},
            start_new_session=True,
        )
    try:
        yield Process(child, arguments[0], log)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
