"""Every command that prints a table fits a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from sklearn.datasets import load_digits

from gamekeeper.replay.cli.bench import _print
from gamekeeper.schemas.tables import verdict_rows, write_parquet
from gamekeeper.stream.cli.root import main
from support.traces import events, write_trace
from support.verdict_tables import make_verdict

ACCOUNT = "an account with 名前 and no end " * 3


def run(folder: Path, *arguments: str) -> str:
    """Run a command on a folder's files; return what it printed."""
    words = [each.replace("HERE", str(folder)) for each in arguments]
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def wide(text: str, folder: Path) -> Sequence[str]:
    """List the lines that do not fit; a path that is longer by itself cannot be helped."""
    lines = [line.replace(str(folder), "HERE") for line in text.splitlines()]
    return [line for line in lines if cell_len(line) > 80]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trace of many accounts, verdicts of odd names, images and a profile."""
    folder = tmp_path_factory.mktemp("widths")
    write_trace(folder / "trace.parquet", events(accounts=12, each=80), trace="honest")
    made = [make_verdict(f"{ACCOUNT}{number}", number, "create") for number in range(2)]
    write_parquet(verdict_rows(made), folder / "verdicts" / "a.parquet")
    loaded = load_digits()
    np.savez(
        folder / "digits.npz", x=(loaded.images[:300] * 15).astype(np.uint8), y=loaded.target[:300]
    )
    common = ("HERE/trace.parquet", "--detector", "prada", "--jobs", "1")
    for seed in ("0", "1"):
        out = f"HERE/profile-{seed}.json"
        rules = ("--alpha", "0.3", "--life", "150", "--seed", seed)
        assert not wide(run(folder, "calibrate", *common, "--out", out, *rules), folder)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "verdicts --data HERE",
        "sql --data HERE FROM~verdicts",
        "sql --data HERE FROM~findings",
        "sql --data HERE SELECT~account,finding~FROM~findings",
        "profile show HERE/profile-0.json",
        "profile show sample",
        "profile diff HERE/profile-0.json HERE/profile-1.json",
        "profile verify HERE/profile-0.json HERE/trace.parquet --jobs 1",
        "evaluate HERE/trace.parquet --profile HERE/profile-0.json --sweep --jobs 1 --out HERE/out",
        "attack list",
        "evasion list",
        "habit list",
        "victim train HERE/digits.npz --epochs 1 --out HERE/victim",
        "train HERE/digits.npz --epochs 1 --size small --only embedding --out HERE/networks",
    ],
)
def test_lines_fit(command: str, folder: Path) -> None:
    """Also where names are long and wide."""
    text = run(folder, *(word.replace("~", " ") for word in command.split()))
    assert len(text.splitlines()) > 2
    assert not wide(text, folder)


@pytest.mark.parametrize("columns", [3, 25])
def test_a_bench_report_fits(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Its text is wrapped, and its matrix of all attacks becomes blocks."""
    names = [f"attack-{number}" for number in range(columns)]
    rows = [names, ["---"] * columns, ["50 (0.04)"] * columns, [""] * columns]
    table = ["| " + " | ".join(row) + " |" for row in rows]
    _print("\n".join(["# Title", "", "many words " * 20, *table]))
    text = capsys.readouterr().out
    assert max(map(cell_len, text.splitlines())) <= 80
    assert all(name in text for name in names)


def test_wide_names_everything(folder: Path) -> None:
    """With --wide each row is one line, with the whole uid."""
    lines = run(folder, "verdicts", "--data", "HERE", "--wide").splitlines()
    assert [len(line.split()[-1]) for line in lines[2:]] == [36, 36]
    assert max(map(cell_len, lines)) > 80
