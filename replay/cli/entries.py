"""A catalog of attacks, evasions or habits: printed, and as commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from gamekeeper.replay.theft import Listed
from gamekeeper.replay.theft.options import describe
from gamekeeper.stream.cli.output import json_line, print_table


class Catalogue(click.Group):
    """A group with `list`, and a subcommand for each name of a catalog, made when it is used.

    `summaries` are the names with their lines; `make` makes a command, and raises
    `UnknownNameError` for a name that the catalog has not.
    """

    def __init__(
        self,
        *args: Any,
        summaries: Mapping[str, str],
        make: Callable[[str], click.Command],
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._summaries = summaries
        self._make = make

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name `list` and what the catalog has."""
        return [*self.commands, *self._summaries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find `list`, or make a command; raises `UnknownNameError`."""
        return super().get_command(ctx, cmd_name) or self._make(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them with the lines that the catalog has: nothing is made for that."""
        own = [(name, each.get_short_help_str(80)) for name, each in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*own, *self._summaries.items()])


def print_entries(what: str, entries: Mapping[str, Listed], form: str) -> None:
    """Print a catalog as a table or as one JSON document: a list of objects."""
    rows = [(name, each.summary, each.paper, _options(each)) for name, each in entries.items()]
    if form == "json":
        keys = (what, "summary", "paper", "options")
        click.echo(json_line([dict(zip(keys, row, strict=True)) for row in rows]))
        return
    print_table(
        (what, "what it does", "paper", "options"),
        [(*row, ", ".join(f"{name}={text}" for name, text in own.items())) for *row, own in rows],
        brief=(what, "what it does"),
    )


def _options(entry: Listed) -> dict[str, str]:
    return {name: option.default for name, option in describe(entry).options.items()}
