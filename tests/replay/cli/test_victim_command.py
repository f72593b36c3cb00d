"""`gamekeeper victim train`: what it prints, writes, leaves out and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from sklearn.datasets import load_digits

from gamekeeper.replay.theft.victims import read_victim
from gamekeeper.stream.cli.main import main


def run(*arguments: str | Path) -> Result:
    """Run `gamekeeper victim train` in this process."""
    return CliRunner().invoke(main, ["victim", "train", *map(str, arguments)])


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of digits, one of them twice."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    loaded = load_digits()
    images = (loaded.images[:500] * 15).astype(np.uint8)
    images[499] = images[0]
    np.savez(path, x=images, y=loaded.target[:500])
    return path


def test_a_victim_is_trained_and_measured(digits: Path, tmp_path: Path) -> None:
    """The report's accuracy is that of the rows held out, class by class."""
    out = tmp_path / "victim.safetensors"
    result = run(digits, "--out", out, "--epochs", "12", "--format", "json")
    assert result.exit_code == 0, result.output
    assert result.stderr == "left out: 1 rows that repeat others\n"
    report = json.loads(result.stdout)
    assert report["trained"] + report["held_out"] == 499
    assert report["accuracy"] > 0.7
    assert [each["name"] for each in report["classes"]] == [str(label) for label in range(10)]
    assert sum(each["rows"] for each in report["classes"]) == report["held_out"]
    right = sum(each["correct"] for each in report["classes"])
    assert report["accuracy"] == right / report["held_out"]
    loaded = load_digits()
    answers = read_victim(out)((loaded.images * 15).astype(np.uint8))
    assert np.mean(answers.labels == loaded.target) > 0.7


def test_options_make_another_victim(digits: Path, tmp_path: Path) -> None:
    """Layers, seed and limit are kept; the same options make the same file."""
    for name, options in {
        "gtsrb": ["--layers", "gtsrb", "--limit", "100", "--held-out", "0.4"],
        "a": [],
        "again": [],
        "b": ["--seed", "1"],
    }.items():
        result = run(digits, "--out", tmp_path / name, "--epochs", "1", *options)
        assert result.exit_code == 0, result.output
    assert read_victim(tmp_path / "gtsrb").architecture[2:4] == ((64, 64), (200, 100))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "again").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_text_says_how_good_it_is_and_what_comes_next(digits: Path, tmp_path: Path) -> None:
    """A row per class, the share that is right, and the next command."""
    out = tmp_path / "victim.safetensors"
    options = ["--limit", "100", "--held-out", "0.4", "--epochs", "1"]
    result = run(digits, "--out", out, *options)
    assert result.exit_code == 0, result.output
    assert "by row, the same share of each class" in result.stdout
    assert f"gamekeeper attack papernot --victim {out}" in result.stdout
    assert result.stdout.count("%") == 11


def test_groups_stay_together(tmp_path: Path) -> None:
    """Rows of one value of the named column are on one side."""
    rng = np.random.default_rng(0)
    images = [_png(rng.integers(0, 256, (8, 8), np.uint8)) for _ in range(40)]
    columns = {"image": images, "label": [0, 1] * 20, "sign": [row // 4 for row in range(40)]}
    pq.write_table(pa.table(columns), tmp_path / "signs.parquet")
    options = ["--group", "sign", "--held-out", "0.2", "--epochs", "1", "--format", "json"]
    result = run(tmp_path / "signs.parquet", "--out", tmp_path / "victim", *options)
    report = json.loads(result.stdout)
    assert report["held_out"] == 8
    assert "by group" in report["how"]


def _png(image: np.typing.NDArray[np.uint8]) -> bytes:
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return data.getvalue()


def test_the_traces_model_can_be_chosen(tmp_path: Path) -> None:
    """The sample is of one model; of another it has no benign rows."""
    result = run("sample", "--out", tmp_path / "victim", "--model", "other")
    assert result.exit_code == 1
    assert "no benign row" in result.stderr


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.zeros((9, 64), np.uint8), np.arange(9), "shape (64,) are no images"),
        (np.zeros((9, 8, 8)) + np.arange(9)[:, None, None] / 7, np.arange(9), "steps of 1/255"),
        (np.arange(9 * 64).reshape(9, 8, 8) % 256, np.zeros(9, int), "all rows are of one class"),
    ],
)
def test_data_that_make_no_victim_are_refused(
    x: np.typing.NDArray[np.float64], y: np.typing.NDArray[np.int64], reason: str, tmp_path: Path
) -> None:
    """No images, images that are not of a public interface, one class."""
    np.savez(tmp_path / "data.npz", x=x, y=y)
    result = run(tmp_path / "data.npz", "--out", tmp_path / "victim")
    assert result.exit_code == 1
    assert reason in result.stderr
    assert not (tmp_path / "victim").exists()


def test_a_folder_that_is_a_file_is_said(digits: Path) -> None:
    """What cannot be written is one line."""
    result = run(digits, "--out", digits / "victim", "--epochs", "1", "--limit", "100")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr
