"""`gamekeeper sql`: questions to the tables, one at a time or at a prompt."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gamekeeper.replay.cli.options import data_option
from gamekeeper.replay.views import view_help
from gamekeeper.schemas.errors import GamekeeperError
from gamekeeper.stream.cli.output import csv_lines, json_line, print_table, warn, wide_option

if TYPE_CHECKING:
    import duckdb

    from gamekeeper.replay.tables import Answer

_TABLE_ROWS = 1000  # more than anyone reads on a screen
_PROMPT = "gamekeeper> "
_MORE = "       ...> "
_QUIT = (".quit", ".exit")
_DOTS = (".tables", ".help", *_QUIT)
_HELP = """\
FROM findings   a line that is a whole statement is run; `;` may be left out
SELECT ...      without FROM, or what is not whole, goes on in the next line,
                up to a `;` or an empty line
Tab             completes tables, columns, keywords and these commands
.tables         tables and ready views, with their columns
.help           this
.quit           leave (or Ctrl-D)"""
_JSON = {"evidence", "promise", "value"}  # columns of JSON text, which is laid out for reading
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
@wide_option
@click.argument("statement", required=False)
def sql(data: Path, form: str, statement: str | None) -> None:
    """Run one statement, or those that are typed or piped in."""
    from gamekeeper.replay.tables import connect  # DuckDB is not needed to print help

    connection = connect(data)
    if statement is not None:
        _answer(connection, data, statement, form)
    elif sys.stdin.isatty():
        _prompt(connection, data, form)
    else:
        _answer(connection, data, sys.stdin.read(), form)


def _answer(connection: duckdb.DuckDBPyConnection, data: Path, text: str, form: str) -> None:
    from gamekeeper.replay.tables import absence, lacking, run

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
        shown = islice(answer.rows, _TABLE_ROWS)
        print_table(answer.names, [_laid_out(answer.names, row) for row in shown])
        if next(answer.rows, None) is not None:
            warn(f"the first {_TABLE_ROWS} rows; --format csv or json prints all")


def _laid_out(names: list[str], row: tuple[Any, ...]) -> list[Any]:
    """Read what is JSON text, for tables to show what it says."""
    return [_read(each) if name in _JSON else each for name, each in zip(names, row, strict=True)]


def _read(text: Any) -> Any:
    try:
        return msgspec.json.decode(text)
    except (TypeError, ValueError):
        return text


def _prompt(connection: duckdb.DuckDBPyConnection, data: Path, form: str) -> None:
    from gamekeeper.replay.tables import words

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ctrl-C does not end a prompt
    _complete_with([*words(connection), *_DOTS])
    click.echo(_HELP)
    for statement in _statements(connection):
        try:
            _command(connection, data, statement, form)
        except GamekeeperError as error:
            warn(str(error))
        except KeyboardInterrupt:
            warn("interrupted")


def _complete_with(words: list[str]) -> None:
    """Let Tab complete words; `input` has history and editing from then on, too."""
    import readline

    found: list[str] = []

    def complete(text: str, state: int) -> str | None:
        if state == 0:
            found[:] = completions(words, text)
        return found[state] if state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n,;()=<>'\"*+-/|")
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")


def completions(words: list[str], text: str) -> list[str]:
    """List the words that begin as a text does, in its case where it has only small letters.

    >>> completions(["accounts", "FROM", ".tables"], "fr"), completions(["account"], "f.ac")
    (['from'], ['f.account'])
    """
    head, dot, tail = text.rpartition(".")
    if not head:
        head, tail = "", text
    fits = [word for word in words if word.lower().startswith(tail.lower())]
    small = tail == tail.lower() != ""
    return [(head and head + dot) + (word.lower() if small else word) for word in fits]


def _command(connection: duckdb.DuckDBPyConnection, data: Path, statement: str, form: str) -> None:
    from gamekeeper.replay.tables import describe

    match statement.rstrip("; \n"):
        case "":
            return
        case ".tables":
            print_table(["name", "one row is", "columns"], describe(connection))
        case ".help":
            click.echo(_HELP)
        case unknown if unknown.startswith("."):
            warn(f"{unknown}: no such command; .help lists them")
        case _:
            _answer(connection, data, statement, form)


def _statements(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Read statements and dot commands, until `.quit` or the end of input."""
    from gamekeeper.replay.tables import whole

    lines: list[str] = []
    while True:
        try:
            line = input(_MORE if lines else _PROMPT).strip()
        except EOFError:
            click.echo()
            yield "\n".join(lines)
            return
        except KeyboardInterrupt:
            click.echo()
            lines = []
            continue
        if lines and line.startswith("."):
            yield "\n".join(lines)
            lines = []
        if not lines and line in _QUIT:
            return
        lines.append(line)
        ended = not line or line.startswith(".") or line.endswith(";")
        if ended or (len(lines) == 1 and whole(connection, line)):
            yield "\n".join(lines)
            lines = []
