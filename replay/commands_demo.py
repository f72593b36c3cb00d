"""`gamekeeper demo`: the whole path on loopback, as a live table of accounts."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gamekeeper.replay.demo import Accounts, Report, Watched, run


@click.command(epilog="Example: gamekeeper demo --out /tmp/demo --seconds 10")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the tables; a new temporary one if not given.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600),
    default=12.0,
    show_default=True,
    help="How long the trace's hour of traffic is made to take.",
)
def demo(out: Path | None, seconds: float) -> None:
    """See attacks being caught: sample traffic through tap, broker, worker and sink.

    Starts all of them on loopback, taps the sample trace (18 accounts, 5 of them thieves) into
    Kafka, shows what the worker thinks of each account, and ends with who was caught. Exits with
    1 unless every attacker was caught and no honest account was.
    """
    folder = _folder(out)
    begun = time.monotonic()
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:

        def show(step: str, accounts: Accounts) -> None:
            if live.console.is_terminal:
                title = Text(f"{time.monotonic() - begun:4.0f} s  {step}")
                live.update(Group(title, _table(accounts)), refresh=True)

        report = run(folder, seconds, show)
    _summary(report, folder)
    raise SystemExit(1 if report.missed or report.false_alarms else 0)


def _folder(out: Path | None) -> Path:
    if out is None:
        return Path(tempfile.mkdtemp(prefix="gamekeeper-demo-"))
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise click.UsageError(f"{out} is not empty; name a new folder")
    return out


def _table(accounts: Accounts) -> Table:
    table = Table(header_style="bold")
    for name, justify in (
        ("account", "left"),
        ("truth", "left"),
        ("queries", "right"),
        ("1 - W", "right"),
        ("standing", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name, watched in sorted(accounts.items()):
        statistic = "" if watched.statistic is None else f"{watched.statistic:.3f}"
        table.add_row(name, watched.kind, str(watched.scored), statistic, _standing(watched))
    return table


def _standing(watched: Watched) -> Text:
    if watched.verdict is None:
        return Text("clear", style="dim")
    style = "bold yellow" if watched.benign else "bold red"
    return Text(f"caught at query {watched.verdict.queries}", style=style)


def _summary(report: Report, folder: Path) -> None:
    console = Console(highlight=False)
    console.print(_table(report.accounts))
    attackers = [a for a in report.accounts.values() if not a.benign]
    honest = len(report.accounts) - len(attackers)
    caught = len(attackers) - len(report.missed)
    queries = sum(watched.scored for watched in report.accounts.values())
    lines = [
        f"{caught} of {len(attackers)} attackers caught"
        + (f"; missed: {', '.join(report.missed)}" if report.missed else ""),
        f"{len(report.false_alarms)} of {honest} honest accounts flagged"
        + (f": {', '.join(report.false_alarms)}" if report.false_alarms else ""),
        f"{queries} queries in {report.seconds:.0f} s; tables and logs are in {folder}",
        "next: gamekeeper sql --data " + f'{folder} "FROM findings"',
    ]
    for line in lines:
        console.print(line, soft_wrap=True)
