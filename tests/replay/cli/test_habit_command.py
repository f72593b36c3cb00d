"""`gamekeeper habit`: what is recorded, printed and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from gamekeeper.replay.honest import HABITS
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.victims import write_victim
from gamekeeper.stream.cli.main import main

MODULE = """
import numpy as np

def odds(rows):
    share = 1 / (1 + np.exp(-rows[:, :1]))
    return np.concatenate([share, 1 - share], axis=1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images, rows, a model for each, which is the working directory."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    images = rng.integers(0, 256, (200, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", inputs=images, labels=labels)
    rows = rng.normal(size=(200, 5)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", inputs=rows, labels=labels)
    write_victim(Classifier(Architecture((8, 8), 3), 0), tmp_path / "model.safetensors")
    (tmp_path / "odds_of_rows.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(name: str, *arguments: str, data: str = "images.npz") -> Result:
    """Run the command; a model that fits the data answers."""
    victim = "model.safetensors" if data == "images.npz" else "odds_of_rows:odds"
    given = ["--victim", victim, "--data", data, "--out", "t.parquet", *arguments]
    return CliRunner().invoke(main, ["habit", name, *given])


def test_a_habit_is_recorded_as_benign_accounts(folder: Path) -> None:
    """Each account has its queries, in order, answered; JSON says what was made of what."""
    done = record(
        "ab-test", "--accounts", "3", "--queries", "40", "--rows", "7", "--format", "json"
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["habit"], told["family"], told["queries"]) == ("ab-test", "repeats", 120)
    rows = pq.read_table(folder / "t.parquet").to_pylist()
    assert {row["kind"] for row in rows} == {"benign"}
    assert {row["account"] for row in rows} == {"ab-test-1", "ab-test-2", "ab-test-3"}
    for account in ("ab-test-1", "ab-test-2"):
        own = sorted((r for r in rows if r["account"] == account), key=lambda row: row["query"])
        assert [row["query"] for row in own] == list(range(40))
        assert [row["time"] for row in own] == sorted(row["time"] for row in own)
        pairs = zip(own[::2], own[1::2], strict=True)
        assert all(a["tensor"] == b["tensor"] and a["label"] == b["label"] for a, b in pairs)


def test_rows_have_habits_too(folder: Path) -> None:
    """A function of rows answers them; an option of the habit is set."""
    done = record(
        "what-if", "--accounts", "2", "--queries", "20", "--set", "steps=5", data="rows.npz"
    )
    assert done.exit_code == 0, done.output
    table = pq.read_table(folder / "t.parquet")
    assert table.num_rows == 40
    assert "honest" in done.stdout


def test_the_same_command_writes_the_same(folder: Path) -> None:
    """Byte for byte; another seed writes another trace."""
    written = []
    for seed in ("1", "1", "2"):
        assert record("burst", "--accounts", "2", "--queries", "12", "--seed", seed).exit_code == 0
        written.append((folder / "t.parquet").read_bytes())
    assert written[0] == written[1] != written[2]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        (["burst"], "rows.npz", "burst is a habit of images, the data are rows"),
        (["what-if"], "images.npz", "what-if is a habit of rows, the data are images"),
        (["own", "--queries", "300"], "images.npz", "give more data, or --queries 200"),
        (["own", "--set", "steps=3"], "images.npz", "no option of own; it has none"),
        (["retries", "--set", "share=much"], "images.npz", "--set share=much"),
        (["retries", "--set", "share"], "images.npz", "write OPTION=VALUE"),
        (["retires"], "images.npz", "unknown habit 'retires'; did you mean retries?"),
    ],
)
def test_what_is_refused(arguments: list[str], data: str, message: str) -> None:
    """In one line that says what to do, before anything is written."""
    done = record(arguments[0], "--queries", "20", *arguments[1:], data=data)
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
    assert not Path("t.parquet").exists()


def test_habits_are_listed() -> None:
    """As JSON with families and options; each has a help with its options and an example."""
    done = CliRunner().invoke(main, ["habit", "list", "--format", "json"])
    listed = json.loads(done.stdout)
    assert [each["habit"] for each in listed] == list(HABITS)
    assert next(each for each in listed if each["habit"] == "lime-many")["options"] == {
        "images": "20"
    }
    for name in ("own", "retries", "lime-many"):
        text = CliRunner().invoke(main, ["habit", name, "--help"]).output
        assert "Its family: " in text
        assert f"Example: gamekeeper habit {name}" in text
