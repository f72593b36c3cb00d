"""`gamekeeper sql`: questions to the tables, one at a time or at a prompt."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import click
import duckdb

from gamekeeper.replay.cli.options import data_option
from gamekeeper.replay.tables import Answer, absence, connect, describe, lacking, run, view_help
from gamekeeper.schemas.errors import GamekeeperError
from gamekeeper.stream.cli.output import csv_lines, json_line, print_table, warn

_TABLE_ROWS = 1000  # more than anyone reads on a screen
_PROMPT = "gamekeeper> "
_MORE = "       ...> "
_DOTS = """\
SELECT ...;   run it (FROM findings; is short for SELECT * FROM findings;)
.tables       tables and ready views, with their columns
.help         this
.quit         leave (or Ctrl-D)"""
_VIEWS = "\n".join(f"  {name}: {text}" for name, text in view_help().items())


@click.command(
    help=f"""Ask questions about queries, scores and verdicts in DuckDB's SQL.

DIR is where `gamekeeper sink` or `gamekeeper evaluate` wrote. Its tables are `queries`, `scores`
and `verdicts`; nothing in it can be changed. Without a statement, a prompt opens, or statements
are read from a pipe.

\b
Ready views:
{_VIEWS}
""",
    epilog="Example: gamekeeper sql --data results \"FROM findings WHERE severity = 'critical'\"",
)
@data_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    help="json: one object a line.",
)
@click.argument("statement", required=False)
def sql(data: Path, form: str, statement: str | None) -> None:
    """Run one statement, or those that are typed or piped in."""
    connection = connect(data)
    if statement is not None:
        _answer(connection, data, statement, form)
    elif sys.stdin.isatty():
        _prompt(connection, data, form)
    else:
        _answer(connection, data, sys.stdin.read(), form)


def _answer(connection: duckdb.DuckDBPyConnection, data: Path, text: str, form: str) -> None:
    for answer in run(connection, text):
        _print(answer, form)
    for table in lacking(data, text):
        warn(absence(data, table))


def _print(answer: Answer, form: str) -> None:
    if form == "json":
        for row in answer.rows:
            click.echo(json_line(dict(zip(answer.names, row, strict=True))))
    elif form == "csv":
        click.echo(csv_lines([answer.names]), nl=False)
        for row in answer.rows:
            click.echo(csv_lines([row]), nl=False)
    else:
        print_table(answer.names, list(islice(answer.rows, _TABLE_ROWS)))
        if next(answer.rows, None) is not None:
            warn(f"the first {_TABLE_ROWS} rows; --format csv or json prints all")


def _prompt(connection: duckdb.DuckDBPyConnection, data: Path, form: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ctrl-C does not end a prompt
    import readline  # noqa: F401 - gives `input` history and editing

    click.echo(_DOTS)
    for statement in _statements():
        try:
            _command(connection, data, statement, form)
        except GamekeeperError as error:
            warn(str(error))
        except KeyboardInterrupt:
            warn("interrupted")


def _command(connection: duckdb.DuckDBPyConnection, data: Path, statement: str, form: str) -> None:
    match statement.rstrip("; "):
        case "":
            return
        case ".tables":
            print_table(["name", "one row is", "columns"], describe(connection))
        case ".help":
            click.echo(_DOTS)
        case unknown if unknown.startswith("."):
            warn(f"{unknown}: no such command; .help lists them")
        case _:
            _answer(connection, data, statement, form)


def _statements() -> Iterator[str]:
    """Read statements up to their `;`, and dot commands, until `.quit` or the end of input."""
    lines: list[str] = []
    while True:
        try:
            line = input(_MORE if lines else _PROMPT).strip()
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            lines = []
            continue
        if not lines and line in {".quit", ".exit"}:
            return
        lines.append(line)
        if line.endswith(";") or lines[0].startswith(".") or not lines[0]:
            yield "\n".join(lines)
            lines = []
