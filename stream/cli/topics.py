"""`gamekeeper topics`: show and make the Kafka topics."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click
import msgspec

from gamekeeper.stream.cli.output import print_table, table_options
from gamekeeper.stream.kafka import Settings, Step, apply, plan

STYLES = {"keep": "dim", "refuse": "red", "warn": "yellow"}


@click.group(
    epilog="Example: KAFKA_BOOTSTRAP_SERVERS=kafka:9092 gamekeeper topics apply --replication 3"
)
def topics() -> None:
    """Compare the cluster's topics with the settings, and make what is missing."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that both subcommands take."""
    for option in (
        table_options,
        click.option(
            "--replication",
            type=click.IntRange(1, 32767),
            help="Copies of each topic; GAMEKEEPER_REPLICATION.",
        ),
        click.option(
            "--partitions",
            type=click.IntRange(1),
            help="Partitions of each topic; GAMEKEEPER_PARTITIONS.",
        ),
    ):
        command = option(command)
    return command


@topics.command("plan", epilog="Example: gamekeeper topics plan --partitions 12 --format json")
@_options
def plan_command(partitions: int | None, replication: int | None, form: str) -> None:
    """Show what `apply` would do; change nothing."""
    _print(plan(_settings(partitions, replication)), form)


@topics.command("apply", epilog="Example: gamekeeper topics apply --partitions 12 --replication 3")
@_options
def apply_command(partitions: int | None, replication: int | None, form: str) -> None:
    """Make missing topics, partitions and settings; remove nothing, ever."""
    _print(apply(_settings(partitions, replication)), form)


def _settings(partitions: int | None, replication: int | None) -> Settings:
    asked: dict[str, Any] = {"partitions": partitions, "replication": replication}
    given = {name: value for name, value in asked.items() if value is not None}
    return msgspec.structs.replace(Settings.from_env(os.environ), **given)


def _print(steps: list[Step], form: str) -> None:
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(steps)).decode())
        return
    print_table(
        ("step", "topic", "detail"),
        [(step.act, step.topic, step.detail) for step in steps],
        styles=[STYLES.get(step.act, "green") for step in steps],
    )
