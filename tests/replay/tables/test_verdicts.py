"""Verdicts listed, shown and followed, from tables and from a topic."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from gamekeeper.replay.cli.verdicts import verdicts as command
from gamekeeper.replay.tables import connect, run
from gamekeeper.replay.tables.verdicts import explain, find, from_tables, from_topic
from gamekeeper.schemas.errors import BrokerError, SettingsError
from gamekeeper.schemas.ocsf import to_ocsf
from gamekeeper.schemas.tables import GAPS, verdict_rows, write_parquet
from gamekeeper.schemas.verdict import decode_verdict
from gamekeeper.stream.kafka import Settings
from support.processes import spawned
from support.traces import send
from support.verdict_tables import make_verdict

MADE = [
    make_verdict("account 1", 2, "create"),
    make_verdict("account 0", 3, "create"),
    make_verdict("account 0", 5, "update", statistic=0.09, severity="high"),
    make_verdict("account 1", 7, "close", statistic=0.01),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of the verdicts, one of them twice, not in the order of time."""
    write_parquet(verdict_rows(MADE[2:]), tmp_path / "verdicts" / "a.parquet")
    write_parquet(verdict_rows(MADE[:3]), tmp_path / "verdicts" / "b.parquet")
    return tmp_path


def test_tables_give_back_the_verdicts(folder: Path) -> None:
    """Verdicts read from tables are those that were written, each once, by time."""
    assert from_tables(folder) == MADE


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_list_is_the_default(folder: Path, arguments: list[str]) -> None:
    """`gamekeeper verdicts` alone lists."""
    result = CliRunner().invoke(command, [*arguments, "--data", str(folder)])
    assert result.exit_code == 0, result.output
    wide = CliRunner().invoke(command, [*arguments, "--data", str(folder), "--wide"])
    for verdict in MADE:
        assert verdict.finding[:8] in result.stdout
        assert verdict.finding not in result.stdout
        assert verdict.finding in wide.stdout
    assert result.stdout.index("account 1") < result.stdout.index("account 0")


def test_a_folder_without_verdicts_is_said(tmp_path: Path) -> None:
    """An empty list must not read as if there were no thieves; an empty table is good news."""
    result = CliRunner().invoke(command, ["--data", str(tmp_path)])
    assert result.exit_code == 0
    assert f"{tmp_path}: holds no `verdicts` table yet" in result.stderr
    assert "gamekeeper sink --out" in result.stderr
    write_parquet(verdict_rows([]), tmp_path / "verdicts" / "a.parquet")
    assert CliRunner().invoke(command, ["--data", str(tmp_path)]).stderr == ""


def test_what_expired_unread_is_said(folder: Path) -> None:
    """Who lists verdicts is told of those that are missing, topic by topic."""
    gap = {"topic": "verdicts\x1b", "partition": 0, "first": 2, "next": 9, "lost": 7}
    gaps = [{**gap, "seen": datetime(2026, 5, 1, tzinfo=UTC)}] * 2
    write_parquet(pa.Table.from_pylist(gaps, schema=GAPS), folder / "gaps" / "a.parquet")
    result = CliRunner().invoke(command, ["--data", str(folder)])
    assert result.exit_code == 0
    assert "14 records of verdicts" in result.stderr
    assert "FROM gaps" in result.stderr
    assert "\x1b" not in result.stderr


def test_a_wrong_address_is_blamed_on_its_option() -> None:
    """Who gives --brokers looks for the fault there, not in the environment."""
    result = CliRunner().invoke(command, ["--brokers", "nonsense"])
    assert str(result.exception).startswith("--brokers 'nonsense': wanted host:port")


def test_formats(folder: Path) -> None:
    """JSON lines are the verdicts, OCSF lines their Detection Findings."""
    lines, ocsf = (
        CliRunner().invoke(command, ["--data", str(folder), "--format", form]).stdout.splitlines()
        for form in ("json", "ocsf")
    )
    assert [decode_verdict(line.encode()) for line in lines] == MADE
    assert [json.loads(line) for line in ocsf] == [to_ocsf(each) for each in MADE]


def test_show_has_the_evidence(folder: Path) -> None:
    """One finding is shown with every change, its evidence and where the query lies."""
    first = MADE[1]
    result = CliRunner().invoke(command, ["show", first.finding[:10], "--data", str(folder)])
    assert result.exit_code == 0, result.output
    for text in (
        "account    account 0",
        "opened (threshold) at query 3, after 4 queries",
        "updated (escalation) at query 5",
        "distance 0.25, nearest 3, query 7",
        "AML.T0024.002",
        "no false-alarm rate is promised",
        "gamekeeper.queries partition 1 offset 3 row 0",
    ):
        assert text in result.stdout
    assert "account 1" not in result.stdout
    lines = CliRunner().invoke(
        command, ["show", MADE[2].id, "--data", str(folder), "--format", "json"]
    )
    assert [decode_verdict(line.encode()) for line in lines.stdout.splitlines()] == MADE[1:3]


def test_show_and_views_say_what_it_was(tmp_path: Path) -> None:
    """An analyst's word and note, and of an account all the words that were said of it."""
    said = {"analyst": "kim", "note": "our own test"}
    closed = make_verdict(
        "a", 3, "close", opened=1, reason="analyst", disposition="benign", evidence=said
    )
    made = [make_verdict("a", 1, "create", opened=1), closed, make_verdict("a", 9, "create")]
    write_parquet(verdict_rows(made), tmp_path / "verdicts" / "a.parquet")
    assert from_tables(tmp_path) == made
    shown = CliRunner().invoke(command, ["show", closed.finding, "--data", str(tmp_path)])
    assert "closed as benign (analyst) at query 3" in shown.stdout
    assert "note  our own test" in shown.stdout
    ocsf = CliRunner().invoke(command, ["--data", str(tmp_path), "--format", "ocsf"])
    assert '"verdict":"Benign"' in ocsf.stdout
    connection = connect(tmp_path)
    [answer] = run(
        connection, "SELECT status, disposition, analyst, note FROM findings ORDER BY status"
    )
    assert list(answer.rows) == [
        ("closed", "benign", "kim", "our own test"),
        ("open", None, None, None),
    ]
    [answer] = run(connection, "SELECT standing, dispositions FROM accounts")
    assert list(answer.rows) == [("flagged", ["benign"])]


def test_tables_of_earlier_builds_are_read(tmp_path: Path) -> None:
    """Where nobody could say what a finding was, nobody has."""
    (tmp_path / "verdicts").mkdir()
    old = pa.Table.from_batches([verdict_rows(MADE)]).drop_columns(["disposition"])
    pq.write_table(old, tmp_path / "verdicts" / "old.parquet")
    assert from_tables(tmp_path) == MADE
    write_parquet(verdict_rows(MADE[:1]), tmp_path / "verdicts" / "new.parquet")
    assert from_tables(tmp_path) == MADE
    [answer] = run(connect(tmp_path), "SELECT disposition, note FROM findings")
    assert set(answer.rows) == {(None, None)}


@pytest.mark.parametrize("note", ["", "  "])
def test_a_benign_finding_needs_its_reason(folder: Path, note: str) -> None:
    """Without it, whoever calibrates with the account could not know why it is harmless."""
    arguments = ["close", MADE[1].finding, "--data", str(folder), "--disposition", "benign"]
    result = CliRunner().invoke(command, [*arguments, "--note", note])
    assert result.exit_code == 2
    assert "--disposition benign needs its reason, such as --note" in result.output


def test_find_needs_one_finding() -> None:
    """A uid that fits none or several findings is an error that says which."""
    with pytest.raises(SettingsError, match="no finding or verdict ffffffff-none"):
        find(MADE, "ffffffff-none")
    with pytest.raises(SettingsError, match="fits 2 findings"):
        find(MADE, "")


def test_a_promise_is_said() -> None:
    """Where thresholds were calibrated, the finding says what that promises."""
    promise = {"alpha": 0.01, "accounts": 200, "life": 5000, "populations": ["may"]}
    text = explain([make_verdict("a", 1, "create", promise=promise)])
    assert "at most 1 % of benign accounts ever flagged in 5000 queries" in text


def test_terminals_are_safe_from_account_names(tmp_path: Path) -> None:
    """Control characters that an account put into its name are shown, not obeyed."""
    evil = make_verdict("\x1b[2Jevil\n", 1, "create")
    write_parquet(verdict_rows([evil]), tmp_path / "verdicts" / "a.parquet")
    for arguments in ([], ["show", evil.finding]):
        result = CliRunner().invoke(command, [*arguments, "--data", str(tmp_path)])
        assert "\x1b" not in result.stdout
        assert "\\x1b[2Jevil\\n" in result.stdout


@pytest.mark.broker
def test_topic_gives_back_the_verdicts(settings: Settings) -> None:
    """All verdicts on the topic, each once; others are reported, tombstones are passed over."""
    send(settings, settings.topics.verdicts, *MADE, b"junk", None, MADE[0])
    said: list[str] = []
    found = list(from_topic(settings, follow=False, skipped=said.append))
    assert sorted(found, key=lambda each: each.last_time) == MADE
    [line] = said
    assert "not a verdict" in line
    assert "offset" in line


@pytest.mark.broker
def test_empty_topic_and_missing_topic(settings: Settings, environ: dict[str, str]) -> None:
    """An empty topic has no verdicts; a topic that is not there is an error."""
    assert list(from_topic(settings, follow=False, skipped=print)) == []
    other = Settings.from_env({**environ, "GAMEKEEPER_TOPIC_VERDICTS": "missing-topic"})
    with pytest.raises(BrokerError, match="no topic missing-topic"):
        list(from_topic(other, follow=False, skipped=print))


@pytest.mark.broker
def test_follow_prints_what_comes(settings: Settings, environ: dict[str, str]) -> None:
    """`--follow` prints what is there and what comes, line by line, until Ctrl-C."""
    send(settings, settings.topics.verdicts, MADE[0])
    arguments = ["verdicts", "--follow", "--format", "json"]
    with spawned(*arguments, environ=environ) as process:
        assert process.stdout is not None
        assert decode_verdict(process.stdout.readline().encode()) == MADE[0]
        send(settings, settings.topics.verdicts, MADE[1])
        assert decode_verdict(process.stdout.readline().encode()) == MADE[1]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=180)
    assert process.returncode == 0
