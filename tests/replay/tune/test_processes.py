"""Work over several processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

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


def test_results_come_with_their_items(tmp_path: Path) -> None:
    """Each item has its own result."""
    items = [tmp_path / name for name in "abc"]
    assert dict(over(leave, items, 2)) == {item: item.stem for item in items}
    assert dict(over(leave, [], 2)) == {}


def test_each_process_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many the parent has: sums in another order would be other bits."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "3")
    assert dict(over(threads, [1, 2], 2)) == {1: 1, 2: 1}


def process(_: int) -> int:
    """Say which process this is."""
    return os.getpid()


def products(_: int) -> set[int]:
    """Say how many threads numpy's matrix products use."""
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_one_job_is_done_here_if_so_wanted() -> None:
    """Without a process of its own, and by one thread all the same."""
    assert dict(over(products, [1], 1, here=True)) == {1: {1}}
    assert dict(over(process, [1, 2], 1, here=True)) == dict.fromkeys([1, 2], os.getpid())
    assert dict(over(process, [1], 2, here=True)) == {1: os.getpid()}
    assert dict(over(process, [1], 1)) != {1: os.getpid()}


def die(_: int) -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("undeterred", [False, True])
def test_a_killed_process_is_told_of(undeterred: bool) -> None:
    """With what most likely killed it, and what helps."""
    with pytest.raises(GamekeeperError, match="want of memory; use fewer --jobs"):
        list(over(die, [1], 1, undeterred=undeterred))


def test_a_failure_need_not_stop_the_rest(tmp_path: Path) -> None:
    """All other work is done before the error is raised, which says what failed."""
    items = [tmp_path / name for name in ("a", "bad", "b", "c")]
    with pytest.raises(ValueError, match="bad cannot be done") as raised:
        list(over(leave, items, 1, undeterred=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert raised.value.__notes__[-1] == f"1 of 4 failed: {tmp_path / 'bad'}"


def linger(path: Path) -> None:
    """Write a file, not too soon after the one before."""
    leave(path)
    time.sleep(0.05)


def test_a_failure_stops_the_rest_else(tmp_path: Path) -> None:
    """What was not begun is left undone, and so it is where nobody wants more results."""
    items = [tmp_path / name for name in ("bad", *map(str, range(100)))]
    with pytest.raises(ValueError, match="bad cannot be done"):
        list(over(linger, items, 1))
    assert len(list(tmp_path.iterdir())) < 100
    for _ in over(linger, items[1:], 1):
        break
    assert len(list(tmp_path.iterdir())) < 100
