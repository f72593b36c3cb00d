"""Look command lines up in the command's tree, as documents and deployment files spell them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gamekeeper.stream.cli.root import main


def find(arguments: Sequence[str]) -> None:
    """Find the command and parse its options, without running it; fails where one is unknown."""
    command: click.Command = main
    context = command.make_context("gamekeeper", list(arguments))
    rest = [*context._protected_args, *context.args]
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None, f"no command {name!r} in {arguments}"
        command, parent = found, context
        if isinstance(command, click.Group):
            context = command.make_context(name, rest, parent=parent)
            rest = [*context._protected_args, *context.args]
    command.make_parser(click.Context(command)).parse_args(rest)
