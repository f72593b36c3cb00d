"""Time that passes when nothing is left to be done, and event loops that live in it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EPOCH = 1_700_000_000.0
"""What the wall clock shows when a simulation begins."""
LONGEST_WORK = 0.3
"""Seconds that work aside takes at most, as in the thread that scores."""


class World:
    """The time, everything that is to happen, and the processes, in an order that a seed draws."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self.loops: list[Loop] = []
        self._coming: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Have something happen outside all processes."""
        heapq.heappush(self._coming, (self.now + seconds, next(self._count), what))

    def run(self, done: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until `done()`; false where it does not come to that in so many seconds.

        That is asked where nothing is left to be done at a moment.
        """
        end = self.now + seconds
        while True:
            ready, then = [], end
            for loop in self.loops:
                if loop.awake:
                    due = loop.due()
                    if due <= self.now:
                        ready.append(loop)
                    elif due < then:
                        then = due
            if len(ready) > 1:
                self.chance.choice(ready).step()
            elif ready:  # processes reach each other in time only: it is alone at this moment
                ready[0].exhaust()
            elif done():
                return True
            elif not self._pass(then, end):
                return False

    def _pass(self, then: float, end: float) -> bool:
        """Go on to what comes next, a loop's at `then` or else, unless that is after the end."""
        coming = self._coming
        if coming and coming[0][0] < then:
            then = coming[0][0]
        self.now = max(self.now, then)
        if then >= end:
            return False
        while coming and coming[0][0] <= self.now:
            heapq.heappop(coming)[2]()
        return True

    @contextmanager
    def clocks(self) -> Iterator[None]:
        """Let Python's clocks show this time within a block."""
        monotonic, wall = time.monotonic, time.time
        time.monotonic = lambda: self.now
        time.time = lambda: EPOCH + self.now
        try:
            yield
        finally:
            time.monotonic, time.time = monotonic, wall


class Loop(asyncio.BaseEventLoop):
    """The event loop of one process; while it is not `awake`, the process is suspended."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.awake = True
        self.set_exception_handler(lambda *_: None)
        world.loops.append(self)

    def time(self) -> float:
        """Tell the world's time."""
        return self.world.now

    def due(self) -> float:
        """Say when there is something to be done next."""
        if self._ready:
            return self.world.now
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
        return self._scheduled[0]._when if self._scheduled else float("inf")

    def exhaust(self) -> None:
        """Do what is due now, and what becomes due by that."""
        while self.due() <= self.world.now:
            self.step()

    def step(self) -> None:
        """Do what is due now, once: what `_run_once` does, without sockets to wait for."""
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0]._when <= self.world.now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        asyncio._set_running_loop(self)
        try:
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle._cancelled:
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    def _process_events(self, events: list[Any]) -> None:
        """Do nothing: there are none."""

    def _write_to_self(self) -> None:
        """Do nothing: no other thread waits."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Do it at once at some moment soon, and tell some time after that."""
        future = self.create_future()
        if self not in self.world.loops:
            return future
        chance = self.world.chance
        self.call_later(
            chance.random() ** 4 * LONGEST_WORK, self._do, future, func, args, chance.random() ** 4
        )
        return future

    def _do(
        self, future: asyncio.Future[Any], func: Callable[..., Any], args: Any, share: float
    ) -> None:
        try:
            value, tell = func(*args), _succeed
        except StopIteration as error:  # cannot be raised into a future
            value, tell = RuntimeError(str(error)), _fail
        except Exception as error:
            value, tell = error, _fail
        self.call_later(share * LONGEST_WORK, tell, future, value)

    def bury(self) -> None:
        """End what is left of a process that was killed, so that nothing of it is heard again."""
        if self in self.world.loops:
            self.world.loops.remove(self)
        for _ in range(5):
            tasks = asyncio.all_tasks(self)
            for task in tasks:
                task.cancel()
            for _ in range(5):
                self.step()
            if not (tasks or self._ready):
                break
        self.close()


def _succeed(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Any) -> None:
    if not future.done():
        future.set_exception(error)
