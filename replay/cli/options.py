"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import click

from gamekeeper.stream.cli.output import warn

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

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells report it."""
GOES_ON = "give the same command again to go on"
Given = ParamSpec("Given")


def interruptible(next_step: str) -> Callable[[Callable[Given, None]], Callable[Given, None]]:
    """Make a decorator that says in one line what Ctrl-C leaves behind, and exits with 130."""

    def wrap(command: Callable[Given, None]) -> Callable[Given, None]:
        @wraps(command)
        def run(*arguments: Given.args, **options: Given.kwargs) -> None:
            try:
                command(*arguments, **options)
            except KeyboardInterrupt as error:
                warn(f"interrupted; {next_step}")
                raise click.exceptions.Exit(INTERRUPTED) from error

        return run

    return wrap
