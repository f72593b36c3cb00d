"""DuckDB over the tables of a folder, with ready views; nothing can be changed through it."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from gamekeeper.replay.tables.promises import fill
from gamekeeper.replay.views import view_help, view_sql
from gamekeeper.schemas.columns import COLUMNS, Column
from gamekeeper.schemas.errors import SettingsError, TraceError

WRITERS = {
    "queries": "`gamekeeper sink --queries` writes it, and so does `gamekeeper record`",
    "scores": "`gamekeeper sink --scores` and `gamekeeper evaluate` write it",
    "verdicts": "is it the folder of `gamekeeper sink --out` or `gamekeeper evaluate --out`?",
    "gaps": "`gamekeeper sink` writes it when records have expired before it could read them",
}
"""What to think of where a table is missing."""
READS = {
    **{table: table for table in COLUMNS},
    **dict.fromkeys(["findings", "accounts", "alarms_by_day", "evidence", "promises"], "verdicts"),
    "queries_per_account": "queries",
    "peaks": "scores",
}
"""The table without which a table or view is empty; `accounts` only tells less without others."""

_READ = re.compile(r'\b(?:FROM|JOIN)\s+"?(\w+)', re.IGNORECASE)
_PROMISES = re.compile(r"\bpromises\b", re.IGNORECASE)
_BARE_SELECT = re.compile(r"\s*SELECT\b(?!.*\bFROM\b)", re.IGNORECASE | re.DOTALL)
_UNFINISHED = re.compile(r"at end of input|unterminated|at or near \"(?P<last>.+)\"")
_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
_BATCH_ROWS = 1000


class Answer(NamedTuple):
    """What a statement returned: the columns' names and the rows, read as they are needed."""

    names: list[str]
    rows: Iterator[tuple[Any, ...]]


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database with the tables and views over a folder.

    A table is all Parquet files below `folder/<table>`, also those that come later; one that has
    no file now is empty. Columns are those of `gamekeeper.schemas.columns` and those that folders
    name (`date=2026-05-01`). Raises `TraceError` where there is no such folder or its files cannot
    be read.
    """
    if not folder.is_dir():
        raise TraceError(
            f"{folder}: no such folder; `gamekeeper sink` and `gamekeeper evaluate` write one"
        )
    connection = duckdb.connect()
    # No extension is fetched from the network.
    connection.execute("SET autoinstall_known_extensions = false; SET TimeZone = 'UTC'")
    for table, columns in COLUMNS.items():
        _open_table(connection, folder / table, table, columns)
    connection.execute(view_sql())
    return connection


def run(connection: duckdb.DuckDBPyConnection, text: str) -> list[Answer]:
    """Run statements that read, one answer each; `SettingsError` on anything else.

    An answer's rows must be read before the next statement is run, so all but the last are held
    in memory.
    """
    with _mapped():
        statements = connection.extract_statements(text)
    for statement in statements:
        if statement.type not in _READING:
            raise SettingsError(
                f"{statement.type.name}: only statements that read are run, so that the tables "
                "stay as they are; to export, use --format csv and redirect it to a file"
            )
    if _PROMISES.search(text):
        with _mapped():
            fill(connection)
    answers: list[Answer] = []
    for statement in statements:
        if answers:
            answers[-1] = answers[-1]._replace(rows=iter(list(answers[-1].rows)))
        with _mapped():
            names = [str(column[0]) for column in connection.execute(statement).description or ()]
        answers.append(Answer(names, _rows(connection)))
    return answers


def whole(connection: duckdb.DuckDBPyConnection, line: str) -> bool:
    """Say whether a line without `;` is to be run as it stands, and not to be gone on with.

    That is what DuckDB can parse, or what no further line can mend. A `SELECT` without `FROM`
    goes on: those who write statements over several lines begin like that.
    """
    try:
        return bool(connection.extract_statements(line)) and not _BARE_SELECT.match(line)
    except duckdb.Error as error:
        found = _UNFINISHED.search(str(error))
        return found is None or not line.rstrip().endswith(found["last"] or "")


def words(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """List what can be completed at a prompt: tables, views, their columns, and SQL's keywords."""
    named = {
        name for table, _, columns in describe(connection) for name in (table, *columns.split(", "))
    }
    keywords = connection.execute("SELECT upper(keyword_name) FROM duckdb_keywords()").fetchall()
    return sorted(named) + sorted(name for (name,) in keywords)


def lacking(folder: Path, text: str) -> list[str]:
    """List the tables that statements name after FROM or JOIN and that have no file yet."""
    read = {READS.get(name.lower()) for name in _READ.findall(text)}
    return [table for table in COLUMNS if table in read and missing(folder, table)]


def missing(folder: Path, table: str) -> bool:
    """Say whether a table has no file yet."""
    return next((folder / table).rglob("*.parquet"), None) is None


def absence(folder: Path, table: str) -> str:
    """Say that a table is missing, which an empty answer does not."""
    return f"{folder}: holds no `{table}` table yet; {WRITERS[table]}"


def describe(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """List tables and views: name, what one row is, columns."""
    text = {
        "queries": "one query that an account sent",
        "scores": "one detector's statistic after one query",
        "verdicts": "one change of an account's standing",
        "gaps": "one stretch of a topic that had expired before the sink read it",
        **view_help(),
    }
    return [(name, text[name], ", ".join(connection.table(name).columns)) for name in text]


def _open_table(
    connection: duckdb.DuckDBPyConnection, folder: Path, table: str, columns: Mapping[str, Column]
) -> None:
    """Give `views.sql` a table's columns, as an empty table, and its files."""
    kinds = ", ".join(f'"{name}" {column.kind}' for name, column in columns.items())
    connection.execute(f"CREATE TABLE _no_{table} ({kinds})")
    files = connection.table(f"_no_{table}")
    with _mapped(folder):
        if not missing(folder.parent, table):
            files = connection.read_parquet(
                f"{glob.escape(str(folder))}/**/*.parquet",
                hive_partitioning=True,
                union_by_name=True,
            )
        files.create_view(f"_files_{table}")


def _rows(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    """Read what was executed last, a part at a time."""
    with _mapped():
        while rows := connection.fetchmany(_BATCH_ROWS):
            yield from rows


@contextmanager
def _mapped(folder: Path | None = None) -> Iterator[None]:
    try:
        yield
    except duckdb.IOException as error:
        raise TraceError(f"{folder or 'table'}: cannot be read: {error}") from error
    except duckdb.Error as error:
        if folder is not None:
            raise TraceError(f"{folder}: not such a table: {error}") from error
        raise SettingsError(str(error)) from error
