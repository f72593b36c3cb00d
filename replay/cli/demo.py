"""`gamekeeper demo`: the whole path on loopback, as a live table of accounts."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress import TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gamekeeper.stream.cli.output import stdout_console
from gamekeeper.stream.cli.progress import progress

if TYPE_CHECKING:
    from gamekeeper.replay.demo import Accounts, Report, Watched
    from gamekeeper.replay.demo.run import Show

TUTORIAL = "docs/tutorial.md"
NEXT = "SELECT account, agreeing, queries_to_detection FROM accounts WHERE findings > 0"


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
    Kafka, shows what each of the shipped profile's detectors thinks of each account, and ends with
    who was caught. Exits with 1 unless every attacker was caught and no honest account was.
    """
    from gamekeeper.replay.demo import run  # not needed to print help

    folder = _folder(out)
    stopped = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, lambda *_: stopped.set())
    with _display() as display:

        def show(step: str, accounts: Accounts) -> None:
            if stopped.is_set():  # here, and not in the midst of starting a process
                raise KeyboardInterrupt
            display(step, accounts)

        report = run(folder, seconds, show)
    _summary(report, folder)
    raise SystemExit(1 if report.missed or report.false_alarms else 0)


@contextmanager
def _display() -> Iterator[Show]:
    """Show the accounts as a live table on a terminal, or tell now and then what is being done."""
    begun = time.monotonic()
    console = Console(stderr=True)
    if not console.is_terminal:
        with progress(TimeElapsedColumn()) as bar:
            task = bar.add_task("starting the broker", total=None)
            yield lambda step, _: bar.update(task, description=step)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(step: str, accounts: Accounts) -> None:
            title = Text(f"{time.monotonic() - begun:4.0f} s  {step}")
            live.update(Group(title, _table(accounts)), refresh=True)

        yield show


def _folder(out: Path | None) -> Path:
    if out is None:
        return Path(tempfile.mkdtemp(prefix="gamekeeper-demo-"))
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise click.UsageError(f"{out} is not empty; name a new folder")
    return out


def _table(accounts: Accounts) -> Table:
    detectors = list(dict.fromkeys(name for each in accounts.values() for name in each.statistics))
    table = Table(box=SIMPLE_HEAD, padding=(0, 0), pad_edge=False, header_style="bold")
    table.caption = "* this detector alarmed"
    for name in ("account", "truth"):
        table.add_column(name, no_wrap=True)
    for name in ("queries", *detectors):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("standing", no_wrap=True)
    for name, watched in sorted(accounts.items()):
        statistics = [_statistic(watched, each) for each in detectors]
        table.add_row(name, watched.kind, str(watched.scored), *statistics, _standing(watched))
    return table


def _statistic(watched: Watched, detector: str) -> Text:
    statistic = watched.statistics.get(detector)
    shown = ""
    if statistic is not None:
        shown = f"{statistic:.0f}" if abs(statistic) >= 10 else f"{statistic:.2g}"
    if detector in watched.alarmed:
        return Text(f"{shown}*", style="bold red")
    return Text(f"{shown} ")


def _standing(watched: Watched) -> Text:
    if watched.caught is None:
        return Text("clear", style="dim")
    style = "bold yellow" if watched.benign else "bold red"
    return Text(f"caught at query {watched.caught.queries}", style=style)


def _summary(report: Report, folder: Path) -> None:
    console = stdout_console()
    console.print(_table(report.accounts))
    attackers = [a for a in report.accounts.values() if not a.benign]
    honest = len(report.accounts) - len(attackers)
    caught = len(attackers) - len(report.missed)
    queries = sum(watched.scored for watched in report.accounts.values())
    data = shlex.quote(str(folder))
    lines = [
        f"{caught} of {len(attackers)} attackers caught"
        + (f"; missed: {', '.join(report.missed)}" if report.missed else ""),
        f"{len(report.false_alarms)} of {honest} honest accounts flagged"
        + (f": {', '.join(report.false_alarms)}" if report.false_alarms else ""),
        f"{queries} queries in {report.seconds:.0f} s; tables and logs are in {folder}",
        f"every verdict:      {command()} verdicts --data {data}",
        *_why(report, data),
        f"ask what you like:  {command()} sql --data {data}",
        f"learn more:         {TUTORIAL}",
        f'next: {command()} sql --data {data} "{NEXT}"',
    ]
    for line in lines:
        console.print(line, soft_wrap=True)


def _why(report: Report, data: str) -> list[str]:
    """Say how to see why the first of the thieves was caught."""
    found = [each.caught for each in report.accounts.values() if each.caught]
    return [
        f"why one was caught: {command()} verdicts show {each.finding[:8]} --data {data}"
        for each in found[:1]
    ]


def command() -> str:
    """Spell this command as it was started: after `make demo` it is not on the path."""
    started = sys.argv[0]
    if started == shutil.which("gamekeeper"):
        return "gamekeeper"
    if Path(started).name == "gamekeeper":
        return shlex.quote(started)
    return f"{shlex.quote(sys.executable)} -m gamekeeper.stream.cli.main"
