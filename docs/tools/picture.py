"""Draw `docs/_static/demo.svg`: the demo is run, and its output drawn as a terminal's.

.venv/bin/python docs/tools/picture.py
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "_static" / "demo.svg"
COLUMNS = 80
DARK = TerminalTheme(
    (22, 27, 34),
    (230, 237, 243),
    [
        *((72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34)),
        *((88, 166, 255), (188, 140, 255), (57, 197, 207), (177, 186, 196)),
    ],
)
# A picture loads nothing: the reader's own monospaced font takes the place of one from the network.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
FORMAT = FORMAT.replace("font-family: Fira Code, monospace", "font-family: monospace")


def demo() -> str:
    """Run the demo in an empty folder; return what it prints, with its colours."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    terminal = {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            ["gamekeeper", "demo", "--out", "tables"],  # noqa: S607 - so that it names itself so
            cwd=folder,
            env={**os.environ, "PATH": path, **terminal},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the table as it grows, which is for terminals
            check=True,
            text=True,
        )
    return run.stdout


def draw(output: str) -> str:
    """Draw a terminal's output as SVG."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), "make demo"))
    console.print(Text.from_ansi(output.rstrip()))
    return console.export_svg(title="Gamekeeper", theme=DARK, code_format=FORMAT, unique_id="demo")


if __name__ == "__main__":
    PICTURE.write_text(draw(demo()))
