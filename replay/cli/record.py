"""`gamekeeper record`: live traffic to a trace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import TextColumn, TimeElapsedColumn

from gamekeeper.stream.cli.output import warn
from gamekeeper.stream.cli.progress import progress
from gamekeeper.stream.kafka import Settings, Start

if TYPE_CHECKING:
    from gamekeeper.replay.traces import Recorded


@click.command(
    epilog="Example: gamekeeper record --out may.parquet --kind benign --trace may --until-idle 5"
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The trace."
)
@click.option("--topic", help="Topic of query events.  [default: GAMEKEEPER_TOPIC_QUERIES]")
@click.option(
    "--from",
    "start",
    type=click.Choice(["beginning", "now"]),
    default="beginning",
    show_default=True,
    help="Where in the topic to begin.",
)
@click.option(
    "--until-idle",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Stop when nothing has come for as long.",
)
@click.option("--queries", type=click.IntRange(min=1), help="Stop when there are as many.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after as many.")
@click.option("--account", "accounts", multiple=True, help="Only this one; repeatable.")
@click.option("--kind", help="`benign`, or the attack's name.")
@click.option("--trace", help="The trace's name.")
def record(
    out: Path,
    topic: str | None,
    start: Start,
    until_idle: float | None,
    queries: int | None,
    seconds: float | None,
    accounts: tuple[str, ...],
    kind: str | None,
    trace: str | None,
) -> None:
    """Record the queries topic as a trace, until a limit is reached or Ctrl-C is pressed.

    What is not a valid event is counted, warned about and left out, and so is what expires before
    it is read.
    """
    from gamekeeper.replay.traces import Wanted  # not needed to print help
    from gamekeeper.replay.traces import record as run_recording

    settings = Settings.from_env(os.environ)
    wanted = Wanted(
        start=start, until_idle=until_idle, queries=queries, seconds=seconds, accounts=accounts
    )
    if wanted.until_idle is wanted.queries is wanted.seconds is None:
        warn("recording until Ctrl-C")
    with progress(TextColumn("{task.fields[what]}"), TimeElapsedColumn()) as bar:
        task = bar.add_task("recording", what="")
        recorded = run_recording(
            settings,
            topic or settings.topics.queries,
            out,
            wanted,
            trace=trace,
            kind=kind,
            skipped=warn,
            advance=lambda so_far: bar.update(task, what=_said(so_far)),
        )
    click.echo(f"{out}: {_said(recorded)}")


def _said(recorded: Recorded) -> str:
    invalid = f", {recorded.invalid} invalid events skipped" if recorded.invalid else ""
    lost = f", {recorded.lost} records expired unread" if recorded.lost else ""
    return (
        f"{recorded.queries} queries in {recorded.events} events of {recorded.accounts} "
        f"accounts{invalid}{lost}"
    )
