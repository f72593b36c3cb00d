"""The root of the command line: names, one-line helps, errors in one line."""

from __future__ import annotations

import importlib
import signal
from types import FrameType
from typing import Any, Final, NamedTuple

import click

from gamekeeper.schemas.errors import GamekeeperError


class Entry(NamedTuple):
    """Where a subcommand is, the extra that brings what it imports, and its line in the help."""

    target: str
    extra: str
    help: str


COMMANDS: Final = {
    "serve": Entry(
        "gamekeeper.stream.cli.serve:serve",
        "service",
        "Watch the queries topic and write verdicts.",
    ),
    "topics": Entry(
        "gamekeeper.stream.cli.topics:topics",
        "service",
        "Compare the cluster's topics with the settings; make what is missing.",
    ),
    "broker": Entry(
        "gamekeeper.stream.cli.broker:broker",
        "demo",
        "Run an in-memory, Kafka-compatible broker on loopback.",
    ),
    "sink": Entry(
        "gamekeeper.stream.cli.sink:sink",
        "service",
        "Write verdicts, scores and queries to Parquet.",
    ),
    "record": Entry("gamekeeper.replay.cli.record:record", "replay", "Record traffic as a trace."),
    "play": Entry(
        "gamekeeper.replay.cli.play:play", "replay", "Play a trace into the queries topic."
    ),
    "bench": Entry(
        "gamekeeper.replay.cli.bench:bench",
        "attack",
        "Measure what is caught, how soon, at which price.",
    ),
    "evaluate": Entry(
        "gamekeeper.replay.cli.evaluate:evaluate",
        "replay",
        "Run detectors over traces and measure their alarms.",
    ),
    "victim": Entry("gamekeeper.replay.cli.victim:victim", "attack", "Train models to attack."),
    "attack": Entry(
        "gamekeeper.replay.cli.attack:attack",
        "attack",
        "Steal from a victim, and record it as a trace.",
    ),
    "evasion": Entry(
        "gamekeeper.replay.cli.evasion:evasion", "attack", "List the ways to hide an attack."
    ),
    "habit": Entry(
        "gamekeeper.replay.cli.habit:habit",
        "attack",
        "Do what honest customers do, and record it as a trace.",
    ),
    "train": Entry(
        "gamekeeper.replay.cli.train:train",
        "train",
        "Train the networks of a profile on benign data.",
    ),
    "calibrate": Entry(
        "gamekeeper.replay.cli.calibrate:calibrate",
        "replay",
        "Choose thresholds that keep a promised false-alarm rate.",
    ),
    "profile": Entry(
        "gamekeeper.replay.cli.profile:profile",
        "replay",
        "Show, compare, verify and announce profiles.",
    ),
    "sql": Entry("gamekeeper.replay.cli.sql:sql", "sql", "Query the tables with SQL."),
    "verdicts": Entry(
        "gamekeeper.replay.cli.verdicts:verdicts", "sql", "Show verdicts and their reasons."
    ),
    "demo": Entry(
        "gamekeeper.replay.cli.demo:demo", "demo", "See an attack being caught, on loopback."
    ),
}


SERVICES: Final = ("serve", "sink", "broker")
"""Run until they are told to stop, which is no failure, also while they start."""


class Root(click.Group):
    """A group whose subcommands are imported when they are used."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; from now on, signals end it in an orderly way."""
        signal.signal(signal.SIGTERM, _stop)  # `broker`, `serve`, `sink` and `demo` set their own
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _stop)
        return super().main(*args, **kwargs)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a subcommand, of which the name is known while it is imported."""
        ctx.invoked_subcommand = args[0]
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the subcommands, in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise _said(error, cmd_name) from error
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand; what goes wrong on purpose is one line and exit code 1."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            if ctx.invoked_subcommand in SERVICES:
                return None
            raise
        except GamekeeperError as error:
            raise click.ClickException(str(error)) from error
        except ImportError as error:
            raise _said(error, ctx.invoked_subcommand or "") from error


def _said(error: ImportError, command: str) -> Exception:
    """Say which extra brings a missing distribution; our own broken imports stay as they are."""
    missing = (error.name or "").partition(".")[0]
    if missing in ("", "gamekeeper") or command not in COMMANDS:
        return error
    return click.ClickException(
        f"`gamekeeper {command}` needs {missing}: "
        f"pip install 'gamekeeper[{COMMANDS[command].extra}]'"
    )


@click.group(cls=Root, epilog="Example: gamekeeper demo")
@click.version_option(package_name="gamekeeper", prog_name="gamekeeper")
def main() -> None:
    """Gamekeeper catches model theft while it happens.

    Settings come from the environment: `KAFKA_BOOTSTRAP_SERVERS` and `GAMEKEEPER_...`
    """


def _stop(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, and with it a pool's processes, which a signal to this one spares."""
    from multiprocessing import active_children  # where there is a pool, it is imported already

    for child in active_children():
        child.terminate()
    signal.default_int_handler(number, frame)
