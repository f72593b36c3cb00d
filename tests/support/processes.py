"""Commands and scripts as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
