"""How promises stood, from tables: held, suspended, not known or never made."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from gamekeeper.detectors.drift import WINDOW
from gamekeeper.replay.cli.sql import sql
from gamekeeper.replay.cli.verdicts import verdicts as command
from gamekeeper.replay.tables import connect, run
from gamekeeper.replay.tables.times import moment
from gamekeeper.schemas.tables import SCORES, score_rows, verdict_rows, write_parquet
from gamekeeper.schemas.verdict import Verdict, finding_id
from support.traces import START
from support.verdict_tables import make_verdict

PROMISE = {"alpha": 0.01, "accounts": 99, "life": 100, "held_out_interval": [0.0, 0.02]}
MINUTE = 60 * 10**6
FIRST, SECOND = "0123456789abcdef", "fedcba9876543210"


def begun(number: int) -> int:
    """Say when an account sends its first query: each a minute after the one before."""
    return START + number * MINUTE


def found(number: int, *, wait: int = 30 * 10**6, **changes: Any) -> Verdict:
    """Make the verdict that opens an account's finding, half a minute after its first query."""
    names = changes.get("profile", FIRST), "prada", f"account {number}", "digits"
    fields: dict[str, Any] = {
        "kind": "other data",
        "promise": PROMISE,
        "id": finding_id(*names, START, 2),
        "finding": finding_id(*names, START, 1),
        "first_time": begun(number),
        "last_time": begun(number) + wait,
    }
    return make_verdict(f"account {number}", 4, "create", **{**fields, **changes})


def write(folder: Path, accounts: range, opened: list[Verdict], *, name: str = "a") -> None:
    """Write scores of accounts that send five queries in a minute, and verdicts."""
    rows = [
        score_rows(f"account {each}", "digits", at, begun(each) + at * 10**7, {"prada": one})
        for each in accounts
        for at, one in enumerate([np.array([0.01])] * 5)
    ]
    write_parquet(pa.Table.from_batches(rows, schema=SCORES), folder / "scores" / f"{name}.parquet")
    write_parquet(verdict_rows(opened), folder / "verdicts" / f"{name}.parquet")


def standings(folder: Path) -> list[dict[str, Any]]:
    """Ask the view."""
    [answer] = run(connect(folder), "FROM promises")
    return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


def ask(folder: Path, *arguments: str) -> Result:
    """Ask `gamekeeper verdicts`."""
    result = CliRunner().invoke(command, [*arguments, "--data", str(folder)])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tables of 120 accounts; the 7th alarms, and from the 60th on every second."""
    alarmed = [7, *range(60, 120, 2)]
    kinds = {62: "theft", 7: "variants"}
    opened = [found(each, kind=kinds.get(each, "other data")) for each in alarmed]
    write(tmp_path, range(120), opened)
    return tmp_path


def test_a_promise_is_suspended_where_more_accounts_alarm(folder: Path) -> None:
    """Its periods have their times, and the lives that speak most against it."""
    held, suspended = standings(folder)
    assert (held["standing"], held["begun"]) == ("held", moment(begun(0)))
    assert held["ended"] == suspended["begun"]
    assert (suspended["standing"], suspended["ended"]) == ("suspended", None)
    assert moment(begun(70)) < suspended["begun"] < moment(begun(90))
    assert suspended["since"] == moment(begun(60))
    assert (suspended["lives"], suspended["alarmed"]) == (59, 30)
    assert suspended["allowed"] == pytest.approx(59 * 0.02)  # the interval's upper end
    kinds = [suspended[each] for each in ("theft", "variants", "other_data", "load")]
    assert kinds == [1, 0, 29, 0]


@pytest.mark.parametrize("declared", [{"severity": "low"}, {"detector": "declared"}])
def test_what_is_declared_of_accounts_does_not_count(
    tmp_path: Path, declared: dict[str, str]
) -> None:
    """Neither what is held at low for it, nor that it was broken: no promise is about these."""
    opened = [found(each, **declared) for each in range(60, 120, 2)]
    write(tmp_path, range(120), opened)
    assert [each["standing"] for each in standings(tmp_path)] == ["held"]


def test_a_finding_says_that_its_promise_was_suspended(folder: Path) -> None:
    """In plain words and 80 columns, with what to do; one that was opened before does not."""
    late, early = found(110), found(7)
    shown = ask(folder, "show", late.finding).stdout
    lines = shown[shown.index("\npromise  ") :].split("\n\n")[0].splitlines()
    assert max(map(len, lines)) <= 80
    words = " ".join(shown.split())
    assert "promise suspended when this was opened: of 59 lives of accounts that began" in words
    assert "30 alarmed (1 theft, 29 other data), where 1.2 are promised at most." in words
    assert "What was found of this account stands" in words
    assert "promise  " not in ask(folder, "show", early.finding).stdout


def test_the_list_tells_how_many_were_opened_meanwhile(folder: Path) -> None:
    """On stderr, so that documents and tables stay as they are; and as JSON where it is asked."""
    listed = ask(folder, "--format", "json")
    assert len(listed.stdout.splitlines()) == 31
    [line] = listed.stderr.splitlines()
    assert f"digits: findings opened while the promise of profile {FIRST} was suspended" in line
    opened = sum(
        moment(found(each).last_time) >= standings(folder)[1]["begun"] for each in range(60, 120, 2)
    )
    assert f"suspended: {opened};" in line
    asked = CliRunner().invoke(sql, ["--data", str(folder), "--format", "json", "FROM promises"])
    last = json.loads(asked.stdout.splitlines()[-1])
    assert (last["standing"], last["alarmed"]) == ("suspended", 30)


def test_one_thief_among_honest_accounts_suspends_nothing(tmp_path: Path) -> None:
    """That is what the promise is for."""
    write(tmp_path, range(300), [found(150, kind="theft")])
    [held] = standings(tmp_path)
    assert (held["standing"], held["alarmed"], held["theft"]) == ("held", 1, 1)
    assert ask(tmp_path).stderr == ""


def test_it_holds_again_where_those_who_come_later_do_not_alarm(tmp_path: Path) -> None:
    """And a table that comes later counts with the next question."""
    connection = connect(tmp_path)
    assert list(run(connection, "FROM promises")[0].rows) == []
    write(tmp_path, range(12), [found(each) for each in range(12)])
    later = connect(tmp_path)
    [answer] = run(later, "SELECT standing FROM promises")
    assert [standing for (standing,) in answer.rows] == ["held", "suspended"]
    write(tmp_path, range(12, 12 + WINDOW), [], name="b")
    [answer] = run(later, "SELECT standing FROM promises")
    assert [standing for (standing,) in answer.rows] == ["held", "suspended", "held"]


def test_without_scores_or_queries_it_is_not_known(tmp_path: Path) -> None:
    """Who did not alarm is in no verdict: nothing is guessed."""
    opened = [found(each) for each in range(50)]
    write_parquet(verdict_rows(opened), tmp_path / "verdicts" / "a.parquet")
    [row] = standings(tmp_path)
    assert (row["standing"], row["lives"], row["begun"]) == ("not known", None, None)
    shown = " ".join(ask(tmp_path, "show", opened[-1].finding).stdout.split())
    assert "promise it is not known whether it held when this was opened" in shown
    assert "gamekeeper sink --queries" in shown
    assert "GAMEKEEPER_SCORES=true" in shown  # without it a sink with --scores has none to write
    assert ask(tmp_path).stderr == ""


def test_where_nothing_was_promised_nothing_is_suspended(tmp_path: Path) -> None:
    """Thresholds that were not calibrated promise nothing, however many alarm."""
    opened = [found(each, promise={"alpha": None}) for each in range(50)]
    write(tmp_path, range(50), opened)
    [row] = standings(tmp_path)
    assert row["standing"] == "none made"
    assert "promise  " not in ask(tmp_path, "show", opened[-1].finding).stdout
    assert ask(tmp_path).stderr == ""


def test_each_profile_has_its_own_lives(tmp_path: Path) -> None:
    """A new one begins with what came after the last finding under the one before."""
    opened = [found(each) for each in range(20, 40)]
    opened += [found(45, profile=SECOND), found(20, profile=SECOND, last_time=begun(80))]
    write(tmp_path, range(100), opened)
    first, suspended, second = standings(tmp_path)
    assert [each["profile"] for each in (first, suspended, second)] == [FIRST, FIRST, SECOND]
    assert suspended["since"] == moment(begun(20))
    assert second["standing"] == "held"
    assert moment(begun(39)) < second["begun"] <= moment(begun(41))
    assert second["begun"] - suspended["begun"] > timedelta(minutes=10)


def test_an_account_counts_by_its_queries_too(tmp_path: Path) -> None:
    """Beyond the promised life only where calibration has measured it; once in each life."""
    beyond = {**PROMISE, "life": 2, "beyond_interval": [0.0, 100.0]}
    opened = [found(each, promise=beyond) for each in range(90, 100)]
    write(tmp_path, range(100), opened)
    assert [each["standing"] for each in standings(tmp_path)] == ["held", "suspended"]
    assert standings(tmp_path)[1]["alarmed"] == 10
    opened = [found(each, promise={**PROMISE, "life": 2}) for each in range(90, 100)]
    write(tmp_path, range(100), opened)  # each found at the fifth query, of two promised
    [held] = standings(tmp_path)
    assert (held["standing"], held["alarmed"]) == ("held", 0)


def test_the_topic_alone_does_not_say(tmp_path: Path) -> None:
    """Where there are no tables, a finding says that it is not known."""
    from gamekeeper.replay.tables.suspended import at_opening

    assert "not known" in at_opening(None, found(1))
    assert at_opening(None, found(1, promise={"alpha": None})) == ""
