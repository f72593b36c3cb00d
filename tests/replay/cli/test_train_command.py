"""`gamekeeper train`: what it prints, writes, leaves out and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from sklearn.datasets import load_digits

from gamekeeper.replay.cli.train import train as command
from gamekeeper.stream.cli import progress as telling
from gamekeeper.stream.cli.main import main
from support.commands import find


def run(*arguments: str | Path) -> Result:
    """Run `gamekeeper train` in this process."""
    return CliRunner().invoke(command, [*map(str, arguments)])


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of digits, some of them twice."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    loaded = load_digits()
    images = (loaded.images[:300] * 15).astype(np.uint8)
    images[299] = images[0]
    np.savez(path, x=images, y=loaded.target[:300])
    return path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Put back the number of threads that a command has set."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_command_is_known() -> None:
    """The root command knows it, and its help ends with an example."""
    find(["train", "data.npz", "--out", "networks", "--size", "small", "--only", "embedding"])
    assert run("--help").output.rstrip().split("\n\n")[-1].lstrip().startswith("Example:")


def test_json_is_the_report(digits: Path, tmp_path: Path) -> None:
    """One JSON document on stdout, the same as in the folder; what was left out on stderr."""
    result = run(digits, "--out", tmp_path, "--size", "small", "--epochs", "1", "--format", "json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "report.json").read_bytes())
    assert [network["feature"] for network in report["networks"]] == [
        "embedding",
        "log_likelihood",
    ]
    assert report["data"]["rows"] == 299
    assert result.stderr == "left out: 1 rows that repeat others\n"


def test_text_says_what_was_held_out_and_measured(digits: Path, tmp_path: Path) -> None:
    """How rows were held out, each network's file and its figures; a limit is kept."""
    options = ["--size", "small", "--epochs", "1", "--only", "embedding", "--limit", "100"]
    result = run(digits, "--out", tmp_path, *options)
    assert result.exit_code == 0, result.output
    for text in (
        "by row, the same share of each class",
        str(tmp_path / "embedding.safetensors"),
        "accuracy",
        "near, translate",
        str(tmp_path / "report.json"),
    ):
        assert text in result.stdout
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert report["data"]["rows"] == 100
    assert not (tmp_path / "log_likelihood.safetensors").exists()


def test_traces_are_split_by_account(tmp_path: Path) -> None:
    """Of a trace, attacks are left out and named, and whole accounts are held out."""
    options = ["--size", "small", "--epochs", "1", "--only", "embedding", "--limit", "150"]
    result = run("sample", "--out", tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert "jb-self (800)" in result.stderr
    assert "by group: no account" in result.stdout


def test_faults_are_one_line(tmp_path: Path) -> None:
    """Through the root command, a fault is one line and exit code 1."""
    arguments = ["train", str(tmp_path / "missing.npz"), "--out", str(tmp_path)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert done.stderr == f"Error: {tmp_path / 'missing.npz'}: no such file or folder\n"


def test_a_killed_command_goes_on_to_the_same_files(
    digits: Path, tmp_path: Path, one_thread: None
) -> None:
    """Killed after its first checkpoint and given again, it writes what an unbroken run writes."""
    arguments = [digits, "--size", "small", "--epochs", "3", "--threads", "1"]
    arguments += ["--only", "embedding", "--out"]
    code = "from gamekeeper.replay.cli.train import train; train()"
    whole = [sys.executable, "-c", code, *map(str, arguments), str(tmp_path / "cut")]
    killed = subprocess.Popen(whole, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "cut" / "checkpoint" / "classify.safetensors"
    tick = threading.Event()
    while not checkpoint.exists() and killed.poll() is None:
        tick.wait(0.01)
    killed.kill()
    killed.wait()
    for name in ("cut", "whole"):
        assert run(*arguments, tmp_path / name).exit_code == 0
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "cut" / path.name).read_bytes()
    assert not checkpoint.parent.exists()


def test_progress_is_silent_without_a_terminal(
    digits: Path, tmp_path: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr of a pipe is what was left out, and no bar; threads are those asked for."""
    monkeypatch.setattr(telling, "EVERY", 3600.0)
    options = ["--size", "small", "--epochs", "1", "--only", "log_likelihood"]
    result = run(digits, "--out", tmp_path, *options, "--threads", "2")
    assert torch.get_num_threads() == 2
    assert result.stderr.count(os.linesep) == 1
