"""Rows for people and for programs: a table, JSON lines, or CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from gamekeeper.schemas.text import printable

_WIDE = 10_000  # columns of a console that is a file or a pipe: nothing is wrapped or cut there


def print_table(names: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """Print a table to stdout, fitted to the terminal where there is one."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    body = [[cell(value) for value in row] for row in rows]
    for place, name in enumerate(names):
        numeric = any(row[place][1] for row in body)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in body:
        table.add_row(*(Text(text) for text, _ in row))
    stdout_console().print(table)


def stdout_console() -> Console:
    """Make a console for stdout, as wide as need be where that is not a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def cell(value: Any) -> tuple[str, bool]:
    r"""Say how a value reads in a table, and whether it is a number.

    Control characters are escaped: ids are whatever an account sent.

    >>> cell(0.123456789), cell(None), cell("a\nb"), cell(b"123")
    (('0.123457', True), ('', False), ('a\\nb', False), ('<3 bytes>', False))
    """
    match value:
        case None:
            return "", False
        case bool():
            return str(value).lower(), False
        case int() | Decimal():
            return str(value), True
        case float():
            return f"{value:.6g}", True
        case datetime():
            return value.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z"), False
        case bytes():
            return f"<{len(value)} bytes>", False
        case str():
            return printable(value), False
        case _:
            return printable(msgspec.json.encode(value).decode()), False


def json_line(value: Any) -> str:
    """Encode a value as one line of JSON; NaN becomes null, times RFC 3339, bytes base64."""
    return msgspec.json.encode(value, enc_hook=str).decode()


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """Encode rows as CSV (RFC 4180, but with plain newlines, for pipes)."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [value if isinstance(value, str) else _csv_cell(value) for value in row] for row in rows
    )
    return text.getvalue()


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    text = json_line(value)
    return text[1:-1] if text.startswith('"') else text


def warn(message: str) -> None:
    """Print one line to stderr."""
    click.echo(message, err=True)


def progress(*columns: ProgressColumn) -> Progress:
    """Make a progress display on stderr, shown only where that is a terminal.

    Without columns it has a bar, a count and the time that is left.
    """
    usual = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(
        TextColumn("{task.description}"),
        *(columns or usual),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
