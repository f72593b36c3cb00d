"""Work on all cores, item by item, in processes of one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits

from gamekeeper.schemas.errors import GamekeeperError

Item = TypeVar("Item")
Result = TypeVar("Result")
Advance = Callable[[int, int], object]
"""Is told how many of how many are done."""

KILLED = "a process was killed, probably for want of memory; use fewer --jobs"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def over(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int,
    *,
    here: bool = False,
    undeterred: bool = False,
) -> Iterator[tuple[Item, Result]]:
    """Do work on each item in up to `jobs` processes; yield items and results as they are done.

    One thread each: the bits stay the same. `here` does without processes where there would
    be one only; else `work` must be picklable. The first error ends it or, if `undeterred`, is
    raised when all else is done. Raises `GamekeeperError` if a process dies.
    """
    jobs = min(jobs, len(items))
    if jobs == 0 or (here and jobs == 1):
        with threadpool_limits(limits=1):  # else BLAS's threads burn a core while they wait
            yield from ((item, work(item)) for item in items)
        return
    failed: dict[int, BaseException] = {}
    with _pool(jobs) as pool:
        futures = {pool.submit(work, item): row for row, item in enumerate(items)}
        for future in as_completed(futures):
            row, error = futures[future], future.exception()
            if isinstance(error, BrokenProcessPool):
                raise GamekeeperError(KILLED) from error
            if error is None:
                yield items[row], future.result()
            elif undeterred:
                failed[row] = error
            else:
                raise error
    if failed:
        error = next(iter(failed.values()))
        names = ", ".join(str(items[row]) for row in failed)
        error.add_note(f"{len(failed)} of {len(items)} failed: {names}")
        raise error


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes; what they have not begun when it ends is left undone."""
    # Spawned, not forked: threads of Arrow and of the matrix products do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        one_thread_each(),
        ProcessPoolExecutor(jobs, mp_context=context, initializer=ignore_interrupts) as pool,
    ):
        try:
            yield pool
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent, which ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let the processes started within use one core each: BLAS would take all in each of them."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
