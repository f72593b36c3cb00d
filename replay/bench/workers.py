"""Work over several processes that outlive no error and share no thread."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from threadpoolctl import threadpool_limits

Item = TypeVar("Item")
Result = TypeVar("Result")
Advance = Callable[[int, int], object]
"""Is told how many of how many are done."""


def over(
    work: Callable[[Item], Result], items: Iterable[Item], jobs: int, advance: Advance
) -> dict[Item, Result]:
    """Do work on each item; results by item. One thread per process: the bits stay the same.

    What fails does not stop the rest: the first error is raised when all else is done.
    """
    todo = list(items)
    found: dict[Item, Result] = {}
    failed: dict[Item, BaseException] = {}
    # Spawned, not forked: threads of the matrix products do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=one_thread) as executor:
        futures = {executor.submit(work, item): item for item in todo}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                error = future.exception()
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


def one_thread() -> None:
    """Compute with one thread from now on."""
    threadpool_limits(1)
