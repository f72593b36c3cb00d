"""Work over several processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from gamekeeper.replay.tune.processes import over
from gamekeeper.schemas.errors import GamekeeperError


def threads(_: int) -> int:
    """Say how many threads torch, which only the process itself imports, would use."""
    import torch

    return torch.get_num_threads()


def leave(path: Path) -> str:
    """Write a file, unless its name says not to."""
    if path.stem == "bad":
        raise ValueError(f"{path.stem} cannot be done")
    path.write_text("done")
    return path.stem


def test_results_come_by_item(tmp_path: Path) -> None:
    """Each item has its own result, and whoever waits is told of each."""
    items = [tmp_path / name for name in "abc"]
    told: list[tuple[int, int]] = []
    found = over(leave, items, 2, lambda done, all_: told.append((done, all_)))
    assert found == {item: item.stem for item in items}
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_each_process_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many the parent has: sums in another order would be other bits."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "3")
    assert over(threads, [1, 2], 2, lambda done, all_: None) == {1: 1, 2: 1}


def die(_: int) -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_told_of() -> None:
    """With what most likely killed it, and what helps."""
    with pytest.raises(GamekeeperError, match="want of memory; use fewer --jobs"):
        over(die, [1], 1, lambda done, all_: None)


def test_a_failure_does_not_stop_the_rest(tmp_path: Path) -> None:
    """All other work is done before the error is raised, which says what failed."""
    items = [tmp_path / name for name in ("a", "bad", "b", "c")]
    with pytest.raises(ValueError, match="bad cannot be done") as raised:
        over(leave, items, 1, lambda done, all_: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert raised.value.__notes__[-1] == f"1 of 4 failed: {tmp_path / 'bad'}"
