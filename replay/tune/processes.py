"""Work on all cores: shards of lives, or items each, in processes of one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from gamekeeper.replay.traces import Life
from gamekeeper.schemas.errors import GamekeeperError

Item = TypeVar("Item")
Result = TypeVar("Result")
Advance = Callable[[int, int], object]
"""Is told how many of how many are done."""

KILLED = "a process was killed, probably for want of memory; use fewer --jobs"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def over_shards(
    work: Callable[[int, Sequence[Life]], Result], shards: Sequence[Sequence[Life]], jobs: int
) -> Iterator[tuple[int, Result]]:
    """Do `work` for every shard and its number, the largest first, in up to `jobs` processes.

    Yields each shard's number and result as they are done. `work` must be picklable where there
    is more than one process. Raises what `work` raises, and `GamekeeperError` if a process dies.
    """
    numbers = sorted(range(len(shards)), key=lambda each: -sum(x.queries for x in shards[each]))
    if min(jobs, len(shards)) <= 1:
        for number in numbers:
            yield number, work(number, shards[number])
        return
    # Spawned, not forked: Arrow's and BLAS's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        one_thread_each(),
        ProcessPoolExecutor(
            min(jobs, len(shards)), mp_context=context, initializer=ignore_interrupts
        ) as pool,
    ):
        futures: dict[Future[Result], int] = {
            pool.submit(work, number, shards[number]): number for number in numbers
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise GamekeeperError(KILLED) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def over(
    work: Callable[[Item], Result], items: Iterable[Item], jobs: int, advance: Advance
) -> dict[Item, Result]:
    """Do work on each item; results by item. One thread per process: the bits stay the same.

    What fails does not stop the rest: the first error is raised when all else is done. Raises
    `GamekeeperError` if a process dies.
    """
    todo = list(items)
    found: dict[Item, Result] = {}
    failed: dict[Item, BaseException] = {}
    # Spawned, not forked: threads of the matrix products do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        one_thread_each(),
        ProcessPoolExecutor(jobs, mp_context=context, initializer=ignore_interrupts) as executor,
    ):
        futures = {executor.submit(work, item): item for item in todo}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    raise GamekeeperError(KILLED) from error
                if error is None:
                    found[futures[future]] = future.result()
                else:
                    failed[futures[future]] = error
                advance(done, len(todo))
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    if failed:
        error = next(iter(failed.values()))
        error.add_note(f"{len(failed)} of {len(todo)} failed: {', '.join(map(str, failed))}")
        raise error
    return found


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
