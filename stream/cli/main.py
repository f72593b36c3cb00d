"""The console command `gamekeeper`; it is installed with the tap too, where click is not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["main"]


def _explain(*_: Any, **__: Any) -> None:
    """Say which extra brings the command line, and exit with code 1."""
    sys.exit(
        "Error: this installation holds the tap only; for the command line: "
        "pip install 'gamekeeper[service]' (or [sql] for verdicts, [replay], [train], [attack])"
    )


main: Callable[..., Any]
try:
    from gamekeeper.stream.cli import root
except ImportError as error:
    if error.name != "click":
        raise
    main = _explain
else:
    main = root.main

if __name__ == "__main__":
    main()
