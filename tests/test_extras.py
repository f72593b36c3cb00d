"""Each command in an installation that has only its extra."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gamekeeper.schemas.tables import verdict_rows, write_parquet
from gamekeeper.stream.cli.root import COMMANDS
from support.extras import brought_by, only
from support.processes import python
from support.traces import events, write_trace
from support.verdict_tables import make_verdict

MAIN = "from gamekeeper.stream.cli.main import main; main()"


def run(extra: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a fresh interpreter that has no module but the extra's."""
    return python(f"{only(extra)}\n{MAIN}", *map(str, arguments))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables that somebody else has written: queries, and a finding that was raised once."""
    folder = tmp_path_factory.mktemp("tables")
    write_trace(folder / "queries" / "a.parquet", events(accounts=2, each=3))
    changes = [make_verdict("account 0", 3, "create"), make_verdict("account 0", 5, "update")]
    places = [("gamekeeper.verdicts", 0, offset) for offset in range(2)]
    path = folder / "verdicts" / "date=2026-05-01" / "a.parquet"
    write_parquet(verdict_rows(changes, places), path)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_runs_with_its_extra(name: str) -> None:
    """The extra that is named where something is missing brings all that a command imports."""
    shown = run(COMMANDS[name].extra, name, "--help")
    assert shown.returncode == 0, shown.stderr
    assert "Example" in shown.stdout


def test_the_extra_of_an_analyst_is_small() -> None:
    """No Arrow, no FAISS, no SciPy, no networks: DuckDB and NumPy are the largest of it."""
    heavy = {"faiss-cpu", "faust-streaming", "pyarrow", "scikit-learn", "scipy", "torch"}
    assert not brought_by("sql") & heavy


def test_sql_answers_with_its_extra_only(tables: Path) -> None:
    """Tables, ready views and times with their zone."""
    text = "SELECT account, count(*) AS n, max(time) AS last FROM queries GROUP BY 1 ORDER BY 1"
    done = run("sql", "sql", "--data", tables, "--format", "json", text)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["account"] for row in found] == ["account 0", "account 1"]
    assert found[0]["last"].startswith("2023-11-14T")
    table = run("sql", "sql", "--data", tables, "FROM findings")
    assert "account 0" in table.stdout


def test_verdicts_are_shown_with_the_extra_of_sql_only(tables: Path) -> None:
    """As a list, as one finding with its evidence, and as OCSF."""
    listed = run("sql", "verdicts", "--data", tables, "--format", "json")
    assert listed.returncode == 0, listed.stderr
    verdicts = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [each["activity"] for each in verdicts] == ["create", "update"]
    shown = run("sql", "verdicts", "show", verdicts[0]["finding"], "--data", tables)
    assert "account    account 0" in shown.stdout
    ocsf = run("sql", "verdicts", "--data", tables, "--format", "ocsf")
    assert json.loads(ocsf.stdout.splitlines()[0])["class_uid"] == 2004


def test_a_sweep_without_plots_says_so_and_writes_its_table(tmp_path: Path) -> None:
    """One line names the extra that brings them."""
    swept = run("replay", "evaluate", "sample", "--sweep", "--jobs", "1", "--out", tmp_path)
    assert swept.returncode == 0, swept.stderr
    [line] = [line for line in swept.stderr.splitlines() if "no plots" in line]
    assert line == "no plots without altair and vl_convert: pip install 'gamekeeper[plot]'"
    assert list(tmp_path.glob("sweep*.parquet"))
    assert not list(tmp_path.rglob("*.png"))


def test_a_profile_with_networks_names_their_extra(tmp_path: Path) -> None:
    """Replay has no torch; who needs it is told what brings it, in one line."""
    done = run(
        *("replay", "evaluate", "sample", "--profile", "sample", "--jobs", "1"),
        *("--out", tmp_path),
    )
    assert done.returncode == 1
    assert done.stderr.strip().endswith("pip install 'gamekeeper[networks]'")
    assert len(done.stderr.splitlines()) == 1
