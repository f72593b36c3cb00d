"""`gamekeeper evasion`: what ways to hide there are."""

from __future__ import annotations

import click

from gamekeeper.replay.cli.entries import print_entries
from gamekeeper.replay.theft.evasions import EVASIONS
from gamekeeper.stream.cli.output import table_options


@click.group(epilog="Example: gamekeeper evasion list")
def evasion() -> None:
    """See the ways to hide that `gamekeeper attack ... --evasion NAME` takes."""


@evasion.command("list", epilog="Example: gamekeeper evasion list --format json")
@table_options
def list_evasions(form: str) -> None:
    """List the evasions, with the papers' sections and options."""
    print_entries("evasion", EVASIONS, form)
