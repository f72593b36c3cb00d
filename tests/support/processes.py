"""Commands and scripts as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import psutil

PATIENCE = 180.0
"""Seconds for what takes a few where nothing else runs; only what fails takes so long."""


def python(code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, with additional environment."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **environ},
        check=False,
    )


@contextmanager
def spawned(
    *arguments: str | Path, environ: Mapping[str, str], before: str = "", **files: Any
) -> Iterator[subprocess.Popen[str]]:
    """Run `gamekeeper ARGUMENTS` with additional environment; at the end of the block it is gone.

    `before` is a script that is run first, in the same process. Its stdout and stderr are pipes,
    unless `files` says otherwise.
    """
    script = f"{before}\nfrom gamekeeper.stream.cli.main import main\nmain()"
    program = [Path(sys.executable).with_name("gamekeeper")]
    with subprocess.Popen(
        [*([sys.executable, "-c", script] if before else program), *arguments],
        text=True,
        env={**os.environ, **environ},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **files},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class Service:
    """A command that can be killed, suspended and started again; leaving the context kills it."""

    def __init__(self, command: Iterable[str | Path], environ: Mapping[str, str]) -> None:
        """Say how it runs; all its lives log to the same file."""
        self._command = list(command)
        self._environ = {"PATH": "/usr/bin:/bin", **environ}
        self._process: subprocess.Popen[bytes] | None = None
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        """End it, however it is; what fails meanwhile is told with the end of its log."""
        if error is not None:
            error.add_note(f"alive: {self.alive()}; its log ends with\n{self.logged()[-4000:]}")
        self.kill()
        self.log.close()

    def start(self) -> None:
        """Start the process."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )

    @property
    def pid(self) -> int:
        """The process's id; that of the last one where none runs."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def terminate(self) -> int:
        """End it with SIGTERM and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def suspend(self) -> None:
        """Hold it with a SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)
        while not self.stopped():
            time.sleep(0.01)

    def stopped(self) -> bool:
        """Say whether a SIGSTOP holds it."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def wake(self) -> None:
        """Let it go on after a SIGSTOP."""
        os.kill(self.pid, signal.SIGCONT)

    def alive(self) -> bool:
        """Say whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def logged(self) -> str:
        """Read what it has logged so far."""
        # Not by seeking: the process writes at the same place of the same open file.
        log = self.log.fileno()
        return os.pread(log, os.fstat(log).st_size, 0).decode(errors="replace")
