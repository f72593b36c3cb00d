"""`gamekeeper verdicts`: list them, show one with its evidence, follow the topic."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.cells import cell_len, set_cell_size

from gamekeeper.replay.cli.options import data_option
from gamekeeper.schemas.errors import SettingsError
from gamekeeper.schemas.text import printable
from gamekeeper.stream.cli.output import cell, is_wide, json_line, print_table, warn, wide_option
from gamekeeper.stream.kafka import BROKERS, Settings

if TYPE_CHECKING:
    from gamekeeper.schemas.verdict import Disposition, Verdict

DISPOSITIONS: Final[dict[str, Disposition]] = {
    "true-positive": "true positive",
    "false-positive": "false positive",
    "benign": "benign",
    "duplicate": "duplicate",
}
"""What a finding turned out to be: the words of the command line, and of the order."""

BRIEF = {"time": 20, "change": 6, "severity": 8, "account": 18, "detector": 10, "finding": 8}
"""What is shown without --wide, and in how many columns of an endless list."""
DIGITS = 8  # of a finding's uid that are shown without --wide; `show` and `close` take them


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
@wide_option
def list_command(data: Path, brokers: str | None, form: str, follow: bool) -> None:
    """List verdicts: every change of an account's standing."""
    if follow:
        from gamekeeper.replay.tables.verdicts import from_topic  # not needed to print help

        with suppress(KeyboardInterrupt):
            _print(from_topic(_settings(brokers), follow=True, skipped=warn), form, stream=True)
    else:
        found = list(_known(data, _settings(brokers) if brokers else None))
        _print(found, form, stream=False)
        if not brokers:
            _warn_of_suspensions(data, found)


def _warn_of_suspensions(data: Path, found: list[Verdict]) -> None:
    from gamekeeper.replay.tables.suspended import while_suspended

    for each in while_suspended(data, found):
        warn(each)


@verdicts.command("show", epilog="Example: gamekeeper verdicts show 2f1c --data results")
@click.argument("uid", metavar="FINDING_OR_ID")
@_source
@_form("text")
def show_command(uid: str, data: Path, brokers: str | None, form: str) -> None:
    """Show one finding with its evidence.

    The first digits of its uid are enough.
    """
    from gamekeeper.replay.tables.suspended import at_opening
    from gamekeeper.replay.tables.verdicts import explain, find

    found = find(_known(data, _settings(brokers) if brokers else None), uid)
    if form == "text":
        click.echo(explain(found, at_opening(None if brokers else data, found[0])))
    else:
        _print(found, form, stream=False)


@verdicts.command(
    "close",
    epilog="Example: gamekeeper verdicts close 2f1c --disposition benign --note 'our load test'",
)
@click.argument("uid", metavar="FINDING_OR_ID")
@_source
@click.option("--analyst", default="", envvar="USER", show_envvar=True, help="Who decided it.")
@click.option(
    "--disposition",
    type=click.Choice(list(DISPOSITIONS)),
    help="What it was: a thief, nothing of the kind, rightly seen but harmless, or told by another "
    "finding, which the note may name.",
)
@click.option("--note", default="", help="Why; it is kept in the closing verdict.")
def close_command(
    uid: str, data: Path, brokers: str | None, analyst: str, disposition: str | None, note: str
) -> None:
    """Close an open finding; its detector begins anew for the account.

    The disposition is kept in the closing verdict, and `gamekeeper calibrate --feedback` learns
    from it. `benign` needs its reason as a --note.

    The finding is looked up as by `show`: in the tables, or with --brokers in the topic. The order
    goes through the queries topic of --brokers (or else KAFKA_BOOTSTRAP_SERVERS) to the worker,
    which answers with a verdict.
    """
    from gamekeeper.replay.tables import order_close
    from gamekeeper.replay.tables.verdicts import find

    if disposition == "benign" and not note.strip():
        raise click.UsageError(
            "--disposition benign needs its reason, such as --note 'our load test'"
        )
    settings = _settings(brokers)
    latest = find(_known(data, settings if brokers else None), uid)[-1]
    if latest.activity == "close":
        raise click.UsageError(f"finding {latest.finding} is closed already")
    said = DISPOSITIONS[disposition] if disposition else ""
    order_close(settings, latest, analyst=analyst, note=note, disposition=said)
    click.echo(f"ordered to close finding {latest.finding} of account {printable(latest.account)}")


def _known(data: Path, cluster: Settings | None) -> Iterable[Verdict]:
    """Read a cluster's topic, or else a folder; say where that has no table, or not all of it."""
    from gamekeeper.replay.tables import absence, missing
    from gamekeeper.replay.tables.verdicts import from_tables, from_topic, lost

    if cluster is not None:
        return from_topic(cluster, follow=False, skipped=warn)
    found = from_tables(data)
    if missing(data, "verdicts"):
        warn(absence(data, "verdicts"))
    for each in lost(data):
        warn(each)
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
    from gamekeeper.replay.tables.verdicts import HEADINGS
    from gamekeeper.schemas.ocsf import to_ocsf
    from gamekeeper.schemas.verdict import encode_verdict

    if form != "table":
        for each in found:
            click.echo(encode_verdict(each) if form == "json" else json_line(to_ocsf(each)))
    elif stream:
        _columns(HEADINGS)
        for each in found:
            _columns(_told(each))
    else:
        print_table(HEADINGS, map(_told, found), brief=BRIEF)


def _told(verdict: Verdict) -> list[Any]:
    """Say a verdict in the words of `HEADINGS`; without --wide, to the second and in short."""
    from gamekeeper.replay.tables.verdicts import listed

    time, *rest, finding = listed(verdict)
    if is_wide():
        return [time, *rest, finding]
    return [f"{time:%Y-%m-%d %H:%M:%SZ}", *rest, finding[:DIGITS]]


def _columns(values: Iterable[Any]) -> None:
    """Print a line whose columns stay in place; without --wide, a long text is cut."""
    from gamekeeper.replay.tables.verdicts import HEADINGS

    texts = [cell(value)[0] for value in values]
    if is_wide():
        widths = (24, 6, 8, 16, 12, 10, 10, 9, 7, 36)
        click.echo("  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)))
        return
    shown = [
        (text, BRIEF[name]) for name, text in zip(HEADINGS, texts, strict=True) if name in BRIEF
    ]
    click.echo("  ".join(_cut(text, width) for text, width in shown))


def _cut(text: str, width: int) -> str:
    return (
        set_cell_size(text, width)
        if cell_len(text) <= width
        else set_cell_size(text, width - 1) + "…"
    )
