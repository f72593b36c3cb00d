"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

data_option = click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("gamekeeper-data"),
    show_default=True,
    envvar="GAMEKEEPER_DATA_DIR",
    show_envvar=True,
    help="Folder of the tables.",
)

jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), help="Processes.  [default: all cores]"
)
text_option = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print."
)
detector_option = click.option(
    "--detector", "detectors", metavar="NAME", multiple=True, help="Run only this; repeatable."
)
