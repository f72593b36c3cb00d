"""Rows for people and for programs: a table, JSON lines, or CSV."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gamekeeper.schemas.text import printable

NARROW: Final = 80  # columns of a file or a pipe: what a terminal has at least
_WIDE: Final = 10_000  # columns with --wide: nothing is wrapped or cut
_GAP: Final = 2  # columns between two columns of a table
_TALL: Final = 8  # lines of a row at most; what would be taller is laid out as blocks
_ITEMS: Final = 6  # of a nested value that are shown without --wide


Command = TypeVar("Command", bound=Callable[..., Any])


def _keep_wide(context: click.Context, _: click.Parameter, wide: bool) -> None:
    context.meta[__name__] = wide


wide_option = click.option(
    "--wide",
    is_flag=True,
    expose_value=False,
    callback=_keep_wide,
    help="Show all columns in full, as wide as need be.",
)
"""Read by `is_wide`, so that no function on the way to a table has to hand it on."""


def table_options(command: Command) -> Command:
    """Add the options of a command that prints tables: --format and --wide."""
    form = click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json"]),
        default="table",
        help="How to print.",
    )
    return form(wide_option(command))


def is_wide() -> bool:
    """Say whether the command was told --wide."""
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(__name__))


def print_table(
    names: Sequence[str],
    rows: Iterable[Sequence[Any]],
    title: str = "",
    *,
    brief: Collection[str] = (),
    styles: Sequence[str] = (),
) -> None:
    """Print a table to stdout that fits the terminal, or 80 columns where there is none.

    Without --wide, only the columns in `brief` are shown, if it names some. Cells are wrapped
    between words; where that is not enough, each row becomes a block of `name: value` lines.
    `styles` are the rows' colours.
    """
    places = [at for at, name in enumerate(names) if not brief or is_wide() or name in brief]
    heads = [printable(names[at]) for at in places]
    body = [[cell(row[at]) for at in places] for row in rows]
    texts = [[text for text, _ in row] for row in body]
    console = stdout_console()
    if title:
        console.print(Text(title, style="italic"))
    widths = _fitted(heads, texts, console.width)
    if widths is None:
        _print_blocks(console, heads, texts)
        return
    table = Table(box=SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for at, (name, width) in enumerate(zip(heads, widths, strict=True)):
        numeric = any(row[at][1] for row in body)
        table.add_column(Text(name), justify="right" if numeric else "left", width=width)
    for row, style in zip(texts, styles or [""] * len(texts), strict=True):
        table.add_row(*map(Text, row), style=style)
    console.print(table)


def _fitted(heads: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> Sequence[int] | None:
    """Choose the columns' widths so that no word is broken; None where there is no room.

    Headings are wrapped before cells are, the widest column first.
    """
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    least = [max(cell_len(word) for text in each for word in text.split(" ")) for each in columns]
    bodies = [max(map(cell_len, column[1:]), default=0) for column in columns]

    def ease(at: int) -> tuple[bool, bool, int]:
        return widths[at] > least[at], widths[at] > bodies[at], widths[at]

    room -= _GAP * (len(heads) - 1)
    for _ in range(sum(widths) - room):
        easiest = max(range(len(widths)), key=ease)
        if widths[easiest] <= least[easiest]:
            return None
        widths[easiest] -= 1
    wrapped = (zip(row, widths, strict=True) for row in rows)
    tall = max(
        (cell_len(text) // (width or 1) for row in wrapped for text, width in row), default=0
    )
    return None if tall >= _TALL else widths


def _print_blocks(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print each row as lines of `name: value`; a word that has no room ends in an ellipsis."""
    if not rows:
        console.print(Text(f"no rows of: {', '.join(heads)}", overflow="ellipsis"))
    for number, row in enumerate(rows):
        block = Table.grid(padding=(0, 1))
        block.add_column(max_width=console.width // 2, overflow="ellipsis")
        block.add_column(overflow="ellipsis")
        for name, text in zip(heads, row, strict=True):
            block.add_row(Text(f"{name}:", style="bold"), Text(text))
        if number:
            console.print()
        console.print(block)


def print_text(text: str) -> None:
    """Print prose to stdout, wrapped between words; a path stays whole."""
    for line in text.splitlines():
        for row in _wrapped(line, stdout_console().width):
            click.echo(row)


def _wrapped(line: str, width: int) -> Iterator[str]:
    row, *words = line.split(" ")
    for word in words:
        if cell_len(row) + 1 + cell_len(word) > width:
            yield row
            row = word
        else:
            row += f" {word}"
    yield row


def stdout_console() -> Console:
    """Make a console for stdout: as wide as the terminal, 80 columns without, any with --wide."""
    usual = None if sys.stdout.isatty() else NARROW
    return Console(highlight=False, width=_WIDE if is_wide() else usual)


def cell(value: Any) -> tuple[str, bool]:
    r"""Say how a value reads in a table, and whether it is a number.

    Control characters are escaped: ids are whatever an account sent.

    >>> cell(0.123456789), cell(None), cell("a\nb"), cell(b"123")
    (('0.123457', True), ('', False), ('a\\nb', False), ('<3 bytes>', False))
    >>> cell({"w": 0.91, "near": [{"query": 3}], "of": list(range(9))})[0]
    'w 0.91, near <1 items>, of <9 items>'
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
        case dict():
            parts = [f"{printable(str(name))} {_inner(each)}" for name, each in value.items()]
            return ", ".join(parts), False
        case list() | tuple():
            shown = [_inner(each) for each in (value if is_wide() else value[:_ITEMS])]
            left = [f"... ({len(value)})"] if len(shown) < len(value) else []
            return ", ".join(shown + left), False
        case _:
            return printable(str(value)), False


def _inner(value: Any) -> str:
    """Say a value within another; one that is long or nests further is only counted."""
    if not isinstance(value, dict | list | tuple):
        return cell(value)[0]
    items = list(value.values() if isinstance(value, dict) else value)
    deep = any(isinstance(each, dict | list | tuple) for each in items)
    if (deep or len(items) > _ITEMS) and not is_wide():
        return f"<{len(items)} {'fields' if isinstance(value, dict) else 'items'}>"
    return f"({cell(value)[0]})"


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
