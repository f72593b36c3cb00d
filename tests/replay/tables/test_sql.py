"""SQL over the tables: columns, ready views, and that nothing can be changed."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from gamekeeper.replay.cli.sql import completions
from gamekeeper.replay.cli.sql import sql as command
from gamekeeper.replay.tables import connect, describe, run, view_help, whole, words
from gamekeeper.replay.tables.sql import READS
from gamekeeper.schemas.columns import COLUMNS
from gamekeeper.schemas.errors import SettingsError, TraceError
from gamekeeper.schemas.tables import GAPS, SCORES, score_rows, verdict_rows, write_parquet
from support.processes import spawned
from support.traces import START, events, write_trace
from support.verdict_tables import make_verdict


def rows(folder: Path, text: str) -> list[dict[str, Any]]:
    """Run one statement and read all of its answer."""
    [answer] = run(connect(folder), text)
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tables of three accounts: one with an open finding, one with a closed one, one clear."""
    write_trace(tmp_path / "queries" / "date=2026-05-01" / "a.parquet", events(accounts=3, each=4))
    statistics = {"prada": np.array([np.nan, 0.01, 0.07, 0.05])}
    scores = [
        score_rows(f"account {number}", "digits", 0, START, statistics, trace="t", kind="benign")
        for number in range(2)
    ]
    write_parquet(pa.Table.from_batches(scores, schema=SCORES), tmp_path / "scores" / "a.parquet")
    seen = datetime(2026, 5, 1, tzinfo=UTC)
    gap = {"topic": "t", "partition": 0, "first": 12, "next": 20, "lost": 8, "seen": seen}
    write_parquet(pa.Table.from_pylist([gap], schema=GAPS), tmp_path / "gaps" / "a.parquet")
    changes = [
        make_verdict("account 0", 3, "create"),
        make_verdict("account 0", 5, "update", statistic=0.09, severity="high"),
        make_verdict("account 1", 2, "create"),
        make_verdict("account 1", 7, "close", statistic=0.01),
    ]
    for number, table in enumerate((changes[:2], changes[1:])):  # the second verdict twice
        positions = [("gamekeeper.verdicts", number, offset) for offset in range(len(table))]
        path = tmp_path / "verdicts" / "date=2026-05-01" / f"{number}.parquet"
        write_parquet(verdict_rows(table, positions), path)
    return tmp_path


def test_missing_tables_are_empty(tmp_path: Path) -> None:
    """In an empty folder every table has its columns and no row, and every view works."""
    connection = connect(tmp_path)
    for table, columns in COLUMNS.items():
        [answer] = run(connection, f"FROM {table}")
        assert answer.names == list(columns)
        assert list(answer.rows) == []
    for view in view_help():
        assert list(run(connection, f"FROM {view}")[0].rows) == []


def test_a_finding_that_a_habit_no_longer_holds_has_the_latest_words(tmp_path: Path) -> None:
    """Of verdicts of one statistic, the last one's severity and words, the first one's evidence."""
    held = make_verdict("account 0", 3, "create", severity="low", summary="It is held at low.")
    released = make_verdict(
        "account 0",
        9,
        "update",
        severity="high",
        summary="No longer.",
        evidence={"declared": {"ended": "budget"}},
    )
    for table in ([held, released], [released, held]):
        write_parquet(verdict_rows(table), tmp_path / "verdicts" / "a.parquet")
        [row] = rows(tmp_path, "FROM findings")
        assert (row["severity"], row["summary"]) == ("high", "No longer.")
        assert "distances" in json.loads(row["evidence"])


@pytest.mark.parametrize("table", COLUMNS)
def test_missing_tables_have_the_types_of_written_ones(
    table: str, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A question that fits the columns of no rows fits those of some."""
    empty, full = (
        {row["column_name"]: row["column_type"] for row in rows(where, f"DESCRIBE {table}")}
        for where in (tmp_path_factory.mktemp("empty"), folder)
    )
    assert empty == {name: kind for name, kind in full.items() if name != "date"}


def test_findings_follow_their_verdicts(folder: Path) -> None:
    """One row per finding: how it was opened, its worst moment, whether it is still open."""
    first, second = rows(folder, "FROM findings ORDER BY account")
    assert (first["account"], first["status"], first["severity"]) == ("account 0", "open", "high")
    assert first["queries_to_detection"] == 4
    assert first["changes"] == 2  # a doubled verdict counts once
    assert first["statistic"] == 0.09
    assert json.loads(first["evidence"])["w"] == pytest.approx(1 - 0.09)
    assert (second["account"], second["status"]) == ("account 1", "closed")
    assert second["closed"] == second["changed"] > second["opened"]
    assert second["statistic"] == 0.06


def test_what_was_raised_again_is_among_the_open_findings(folder: Path) -> None:
    """An analyst who asks for open findings must not miss the worst ones."""
    [worst] = rows(folder, "FROM findings WHERE status = 'open'")
    assert (worst["account"], worst["changes"]) == ("account 0", 2)


def test_accounts_have_a_standing(folder: Path) -> None:
    """Flagged, closed or clear, with the number of queries that were sent."""
    found = {row["account"]: row for row in rows(folder, "FROM accounts")}
    assert [found[f"account {number}"]["standing"] for number in range(3)] == [
        "flagged",
        "closed",
        "clear",
    ]
    sent = [sum(len(each) for each in events(3, 4) if each.account == name) for name in found]
    assert [row["queries"] for row in found.values()] == sent


def test_other_views(folder: Path) -> None:
    """Alarms by day, queries per account, peaks and evidence say what the tables hold."""
    [day] = rows(folder, "FROM alarms_by_day")
    assert (str(day["day"]), day["findings"], day["accounts"]) == ("2023-11-14", 2, 2)
    counted = rows(folder, "FROM queries_per_account WHERE account = 'account 1'")
    assert [(row["queries"], row["requests"]) for row in counted] == [(8, 4)]
    peaks = rows(folder, "FROM peaks")
    assert [(row["peak"], row["at_query"], row["latest"]) for row in peaks] == [(0.07, 2, 0.05)] * 2
    items = rows(folder, "FROM evidence WHERE item = 'distances'")
    assert [row["value"] for row in items] == ["150", "150"]


def test_partition_folders_and_older_files(folder: Path) -> None:
    """The date of the folders is a column, and files that lack an optional column are read."""
    old = pq.read_table(folder / "queries").drop_columns(["round", "kind"])
    (folder / "queries" / "date=2026-05-02").mkdir()
    pq.write_table(old, folder / "queries" / "date=2026-05-02" / "b.parquet")
    counts = rows(
        folder, "SELECT CAST(date AS TEXT) AS date, count(*) AS n FROM queries GROUP BY 1"
    )
    assert {row["date"]: row["n"] for row in counts} == {"2026-05-01": 24, "2026-05-02": 24}


def test_files_that_come_later_are_seen(folder: Path) -> None:
    """A table that had files shows new ones without connecting again."""
    connection = connect(folder)
    write_trace(folder / "queries" / "date=2026-05-03" / "c.parquet", events(1, 2))
    [answer] = run(connection, "SELECT count(*) FROM queries")
    assert list(answer.rows) == [(27,)]


def test_odd_folder_names(tmp_path: Path) -> None:
    """Characters that mean something in patterns or in SQL are plain in a folder's name."""
    odd = tmp_path / "it's [a] *?{b}"
    write_trace(odd / "queries" / "a.parquet", events(1, 2))
    write_trace(tmp_path / "it's a x" / "queries" / "a.parquet", events(3, 9))
    assert rows(odd, "SELECT count(*) AS n FROM queries") == [{"n": 3}]


@pytest.mark.parametrize(
    "text",
    [
        "COPY (SELECT 1) TO '{folder}/x.csv'",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW queries",
        "ATTACH '{folder}/x.db'",
        "SELECT 1; DELETE FROM _no_queries",
        "SET autoinstall_known_extensions = true",
        "INSTALL httpfs",
    ],
)
def test_nothing_can_be_changed(folder: Path, text: str) -> None:
    """Statements that write, even behind one that reads, are refused before anything runs."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(SettingsError, match="only statements that read"):
        run(connect(folder), text.format(folder=folder))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_errors_are_said_in_our_words(folder: Path) -> None:
    """Bad SQL is a `SettingsError`; a missing folder and a broken file are `TraceError`s."""
    connection = connect(folder)
    for text, message in {
        "SELEC 1": "syntax error",
        "FROM nowhere": "nowhere",
        "SELECT error('no') FROM queries": "no",
    }.items():
        with pytest.raises(SettingsError, match=message):
            list(run(connection, text)[0].rows)
    with pytest.raises(TraceError, match="no such folder"):
        connect(folder / "missing")
    (folder / "scores" / "b.parquet").write_text("hello")
    with pytest.raises(TraceError, match=r"scores.*b\.parquet"):
        connect(folder)


def test_command_formats(folder: Path) -> None:
    """A table for people, one JSON object a line, and CSV say the same."""
    text = "SELECT account, count(*) AS n, max(time) AS last FROM queries GROUP BY 1 ORDER BY 1"
    common = ["--data", str(folder), text]
    plain, lines, comma = (
        CliRunner().invoke(command, [*common, "--format", form])
        for form in ("table", "json", "csv")
    )
    assert plain.exit_code == lines.exit_code == comma.exit_code == 0
    documents = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [document["n"] for document in documents] == [7, 8, 9]
    assert documents[0]["last"].startswith("2023-11-14T22:13:20")
    assert [row["account"] for row in csv.DictReader(io.StringIO(comma.stdout))] == [
        document["account"] for document in documents
    ]
    assert all(document["account"] in plain.stdout for document in documents)


def test_tables_that_are_missing_are_said(tmp_path: Path) -> None:
    """Nothing in an empty folder must not read as if nobody stole; what was written says enough."""

    def said(statement: str) -> list[str]:
        result = CliRunner().invoke(command, ["--data", str(tmp_path), statement])
        assert result.exit_code == 0, result.output
        return re.findall(r"holds no `(\w+)` table yet", result.stderr)

    assert said("FROM findings") == said("FROM accounts") == ["verdicts"]
    assert said("SELECT count(*) FROM queries; FROM peaks") == ["queries", "scores"]
    assert said("SELECT 1") == []
    write_parquet(verdict_rows([]), tmp_path / "verdicts" / "a.parquet")
    assert said("FROM findings") == said("FROM accounts") == []
    assert said("SELECT queries FROM verdicts JOIN scores USING (account)") == ["scores"]
    assert set(READS) == {*COLUMNS, *view_help()}


def test_long_answers_in_a_table_say_so(folder: Path) -> None:
    """A table ends after a thousand rows and says how to get all."""
    result = CliRunner().invoke(command, ["--data", str(folder), "FROM range(1500)"])
    assert "999" in result.stdout
    assert "1000" not in result.stdout
    assert "first 1000 rows" in result.stderr
    result = CliRunner().invoke(
        command, ["--data", str(folder), "FROM range(1500)", "--format", "csv"]
    )
    assert len(result.stdout.splitlines()) == 1501


def test_statements_from_a_pipe(folder: Path) -> None:
    """Without an argument, statements are read from standard input."""
    result = CliRunner().invoke(
        command,
        ["--data", str(folder), "--format", "json"],
        input="SELECT 1 AS a;\nSELECT 2 AS a; SELECT 3 AS a",
    )
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"a": 1},
        {"a": 2},
        {"a": 3},
    ]


def test_help_lists_the_views() -> None:
    """The help names every view with what one row of it is, and an example."""
    result = CliRunner().invoke(command, ["--help"])
    for name, text in view_help().items():
        assert f"{name}: {text}" in result.stdout
    assert "Example: gamekeeper sql" in result.stdout
    assert set(view_help()) == {
        "findings", "accounts", "alarms_by_day", "queries_per_account", "peaks", "evidence",
        "promises",
    }  # fmt: skip


def test_described_tables_are_those_there_are(tmp_path: Path) -> None:
    """`.tables` tells of each table and view with its columns."""
    described = {name: columns for name, _, columns in describe(connect(tmp_path))}
    assert set(described) == {*COLUMNS, *view_help()}
    assert described["scores"] == ", ".join(SCORES.names)


def test_prompt(folder: Path) -> None:
    """At a terminal: statements over several lines, dot commands, errors that do not end it."""
    leader, follower = pty.openpty()
    arguments = ["sql", "--data", folder, "--format", "json"]
    with spawned(*arguments, environ={}, stdin=follower) as process:
        os.close(follower)
        typed = ".tables\nSELEC;\n.nothing\n\nSELECT count(*) AS n\nFROM queries;\n.quit\n"
        os.write(leader, typed.encode())
        stdout, stderr = process.communicate(timeout=180)
        os.close(leader)
    assert process.returncode == 0
    assert "queries_per_account" in stdout
    assert '{"n":24}' in stdout
    assert "syntax error" in stderr
    assert ".nothing: no such command" in stderr


def at_prompt(folder: Path, typed: str) -> tuple[str, str]:
    """Type at a prompt that prints JSON; return its stdout and stderr."""
    leader, follower = pty.openpty()
    with spawned(
        "sql", "--data", folder, "--format", "json", environ={}, stdin=follower
    ) as process:
        os.close(follower)
        os.write(leader, typed.encode())
        said = process.communicate(timeout=180)
        os.close(leader)
    assert process.returncode == 0
    return said


def test_enter_runs_a_whole_statement(folder: Path) -> None:
    """A `;` may be left out; what goes on ends with one, with an empty line or with a command."""
    counted = "SELECT count(*) AS n FROM queries\n"
    stdout, stderr = at_prompt(folder, counted * 2 + ".quit\n")
    assert stdout.count('{"n":24}') == 2
    split = "SELECT count(*) AS n,\n'a;b' AS text\nFROM queries"
    for end in ("\n\n", ";\n", "\n.help\n"):
        stdout, stderr = at_prompt(folder, f"{split}{end}.quit\n")
        assert stdout.count('{"n":24,"text":"a;b"}') == 1
        assert stderr == ""
    _, stderr = at_prompt(folder, "SELEC account FROM queries\n.quit\n")
    assert "syntax error" in stderr


@pytest.mark.parametrize(
    ("line", "is_whole"),
    [
        ("FROM findings", True),
        ("SELECT account FROM findings WHERE status = 'open'", True),
        ("SELEC account", True),
        ("SELECT account", False),
        ("SELECT account,", False),
        ("FROM findings WHERE account = 'a", False),
        ("WITH a AS (", False),
        ("FROM findings WHERE", False),
        ("FROM findings WHERE account IN ('a',", False),
        ("SELECT * FROM (SELECT 1", False),
        ("FROM findings WERE account = 'a'", True),
        ("-- a note", False),
        ("", False),
    ],
)
def test_what_is_a_whole_line(line: str, is_whole: bool, tmp_path: Path) -> None:
    """What DuckDB can parse and what no line can mend, but no SELECT that has no FROM yet."""
    assert whole(connect(tmp_path), line) is is_whole


def test_tab_completes(folder: Path) -> None:
    """Tables, columns, keywords and commands, at a terminal as it is."""
    known = [*words(connect(folder)), ".tables"]
    assert completions(known, "queries_per_a") == ["queries_per_account"]
    assert completions(known, "queries_to") == ["queries_to_detection"]
    assert completions(known, "f.seve") == ["f.severity"]
    assert completions(known, "INTERS") == ["INTERSECT"]
    assert completions(known, "inters") == ["intersect"]
    assert completions(known, ".t") == [".tables"]
    leader, follower = pty.openpty()
    files = {"stdin": follower, "stdout": follower, "stderr": follower}
    arguments = ["sql", "--data", folder, "--format", "json"]
    with spawned(*arguments, environ={"TERM": "xterm"}, **files) as process:
        os.close(follower)
        os.write(leader, b"FROM findings WHERE severi\t = 'high'\n.qu\t\n")
        shown = b""
        with suppress(OSError):  # how a terminal that nobody writes to any more ends
            while part := os.read(leader, 4096):
                shown += part
        os.close(leader)
        assert process.wait(60) == 0
    assert b'"account":"account 0"' in shown
    assert b'"account":"account 1"' not in shown
