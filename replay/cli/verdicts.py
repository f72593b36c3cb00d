"""`gamekeeper verdicts`: list them, show one with its evidence, follow the topic."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from gamekeeper.replay.cli.options import data_option
from gamekeeper.replay.tables import absence, missing, order_close
from gamekeeper.replay.tables.verdicts import (
    HEADINGS,
    explain,
    find,
    from_tables,
    from_topic,
    listed,
)
from gamekeeper.schemas.errors import SettingsError
from gamekeeper.schemas.ocsf import to_ocsf
from gamekeeper.schemas.text import printable
from gamekeeper.schemas.verdict import Verdict, encode_verdict
from gamekeeper.stream.cli.output import cell, json_line, print_table, warn
from gamekeeper.stream.kafka import BROKERS, Settings


class _ListByDefault(click.Group):
    """A group for which no command means `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in front of what is not a command."""
        if not args or (args[0] not in self.commands and args[0] not in {"--help", "-h"}):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ListByDefault, epilog="Example: gamekeeper verdicts --data results")
def verdicts() -> None:
    """List verdicts (without a command), show a finding with its evidence, or close it.

    They are read from the tables of a folder, or from the topic if --brokers names a cluster.
    Without a command, the options are those of `list`: see `gamekeeper verdicts list --help`.
    """


def _source(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where verdicts come from."""
    for option in (
        click.option(
            "--brokers", metavar="HOST:PORT", help="Read this cluster's topic, not the tables."
        ),
        data_option,
    ):
        command = option(command)
    return command


def _form(plain: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    choice = click.Choice([plain, "json", "ocsf"])
    return click.option(
        "--format", "form", type=choice, default=plain, help="json and ocsf: one document a line."
    )


@verdicts.command(
    "list", epilog="Example: gamekeeper verdicts list --follow --brokers 127.0.0.1:9092"
)
@_source
@_form("table")
@click.option(
    "--follow",
    is_flag=True,
    help=f"Go on with what comes on the topic (of --brokers or {BROKERS}).",
)
def list_command(data: Path, brokers: str | None, form: str, follow: bool) -> None:
    """List verdicts: every change of an account's standing."""
    if follow:
        with suppress(KeyboardInterrupt):
            _print(from_topic(_settings(brokers), follow=True, skipped=warn), form, stream=True)
    elif brokers:
        _print(from_topic(_settings(brokers), follow=False, skipped=warn), form, stream=False)
    else:
        _print(_tabled(data), form, stream=False)


@verdicts.command("show", epilog="Example: gamekeeper verdicts show 2f1c --data results")
@click.argument("uid", metavar="FINDING_OR_ID")
@_source
@_form("text")
def show_command(uid: str, data: Path, brokers: str | None, form: str) -> None:
    """Show one finding with its evidence.

    The first digits of its uid are enough.
    """
    known = from_topic(_settings(brokers), follow=False, skipped=warn) if brokers else _tabled(data)
    found = find(known, uid)
    if form == "text":
        click.echo(explain(found))
    else:
        _print(found, form, stream=False)


@verdicts.command(
    "close", epilog="Example: gamekeeper verdicts close 2f1c --note 'our own load test'"
)
@click.argument("uid", metavar="FINDING_OR_ID")
@_source
@click.option("--analyst", default="", envvar="USER", show_envvar=True, help="Who decided it.")
@click.option("--note", default="", help="Why; it is kept in the closing verdict.")
def close_command(uid: str, data: Path, brokers: str | None, analyst: str, note: str) -> None:
    """Close an open finding; its detector begins anew for the account.

    The finding is looked up as by `show`: in the tables, or with --brokers in the topic. The order
    goes through the queries topic of --brokers (or else KAFKA_BOOTSTRAP_SERVERS) to the worker,
    which answers with a verdict.
    """
    settings = _settings(brokers)
    known = from_topic(settings, follow=False, skipped=warn) if brokers else _tabled(data)
    latest = find(known, uid)[-1]
    if latest.activity == "close":
        raise click.UsageError(f"finding {latest.finding} is closed already")
    order_close(settings, latest, analyst=analyst, note=note)
    click.echo(f"ordered to close finding {latest.finding} of account {printable(latest.account)}")


def _tabled(data: Path) -> list[Verdict]:
    """Read a folder's verdicts; say where it has no such table: that is no good news."""
    found = from_tables(data)
    if missing(data, "verdicts"):
        warn(absence(data, "verdicts"))
    return found


def _settings(brokers: str | None) -> Settings:
    try:
        return Settings.from_env({**os.environ, **({BROKERS: brokers} if brokers else {})})
    except SettingsError as error:
        raise SettingsError(
            str(error).replace(f"{BROKERS}=", "--brokers ") if brokers else str(error)
        ) from error


def _print(found: Iterable[Verdict], form: str, *, stream: bool) -> None:
    """Print verdicts; those of an endless stream line by line."""
    if form != "table":
        for each in found:
            click.echo(encode_verdict(each) if form == "json" else json_line(to_ocsf(each)))
    elif stream:
        _columns(HEADINGS)
        for each in found:
            _columns([cell(value)[0] for value in listed(each)])
    else:
        print_table(HEADINGS, [listed(each) for each in found])


def _columns(texts: Iterable[Any]) -> None:
    """Print a line whose columns stay in place unless a text is long."""
    widths = (24, 6, 8, 16, 12, 8, 10, 9, 7, 36)
    click.echo("  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)))
