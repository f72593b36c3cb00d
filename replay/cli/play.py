"""`gamekeeper play`: a trace to the queries topic."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

import click

from gamekeeper.replay.cli.options import INTERRUPTED
from gamekeeper.stream.cli.output import warn
from gamekeeper.stream.cli.progress import progress
from gamekeeper.stream.kafka import Settings

if TYPE_CHECKING:
    from gamekeeper.replay.traces import Played


class _Speed(click.ParamType):
    """A positive number, or `max`."""

    name = "N|max"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Turn the text into a factor; `max` is infinite."""
        if value == "max":
            return math.inf
        try:
            speed = float(str(value))
        except ValueError:
            speed = math.nan
        if not 0 < speed < math.inf:
            self.fail(f"{value!r} is neither a positive number nor `max`", param, ctx)
        return speed


@click.command(epilog="Example: gamekeeper play sample --speed 20 --account-prefix again-")
@click.argument("traces", metavar="TRACE...", nargs=-1, required=True)
@click.option(
    "--speed",
    type=_Speed(),
    default="1",
    show_default=True,
    help="Times as fast as it was recorded, or `max`.",
)
@click.option("--topic", help="Topic of query events.  [default: GAMEKEEPER_TOPIC_QUERIES]")
@click.option("--account-prefix", default="", help="Put before account and event ids.")
@click.option("--restamp", is_flag=True, help="Give events the time of their sending.")
def play(
    traces: tuple[str, ...], speed: float, topic: str | None, account_prefix: str, restamp: bool
) -> None:
    """Play traces (files, folders or `sample`) into the queries topic, as if it were live.

    Each account's events stay in order and on one partition; every event is acknowledged by the
    broker or the command fails. Ctrl-C ends it after what was sent is acknowledged.
    """
    from gamekeeper.replay.traces import Manner  # not needed to print help
    from gamekeeper.replay.traces import play as run_playing

    settings = Settings.from_env(os.environ)
    manner = Manner(speed=speed, prefix=account_prefix, restamp=restamp)
    begun = time.monotonic()
    with progress() as bar:
        task = bar.add_task("queries", total=None)

        def advance(played: Played) -> None:
            bar.update(task, completed=played.queries, total=played.total)

        played = run_playing(
            settings, topic or settings.topics.queries, traces, manner, advance=advance, said=warn
        )
    seconds = time.monotonic() - begun
    click.echo(
        f"{played.queries} of {played.total} queries in {played.acknowledged} acknowledged events, "
        f"{seconds:.1f} s, {played.queries / seconds:.0f} queries/s"
    )
    if played.interrupted:
        raise click.exceptions.Exit(INTERRUPTED)
