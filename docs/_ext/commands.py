"""The examples at the end of a command's help, as code."""

from __future__ import annotations

import click
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

_EXAMPLE = "Example: "


def epilog(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Turn the epilog "Example: gamekeeper demo" into a block, in reStructuredText."""
    text = " ".join(lines)
    if text.startswith(_EXAMPLE):
        command = text.removeprefix(_EXAMPLE).strip()
        lines[:] = [".. rubric:: Example", "", ".. code-block:: sh", "", f"    {command}", ""]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Listen for the epilogs that sphinx-click writes."""
    app.connect("sphinx-click-process-epilog", epilog)
    return {"parallel_read_safe": True}
