"""A catalog of attacks or evasions, printed."""

from __future__ import annotations

from collections.abc import Mapping

import click

from gamekeeper.replay.theft import Listed
from gamekeeper.replay.theft.options import describe
from gamekeeper.stream.cli.output import json_line, print_table


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
