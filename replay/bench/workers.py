"""Work over several processes that do the rest where one fails, and use one thread each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from gamekeeper.replay.evaluation.shards import KILLED, ignore_interrupts, one_thread_each
from gamekeeper.schemas.errors import GamekeeperError

Item = TypeVar("Item")
Result = TypeVar("Result")
Advance = Callable[[int, int], object]
"""Is told how many of how many are done."""


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
