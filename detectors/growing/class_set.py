"""One class's share of the growing set: its rows, their queries, DG_c and T_c."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.growing.nearest import halved_squares


class ClassSet:
    """Members in preallocated arrays: a queue that is appended to and cut in front.

    Members lie at `start` to `stop`. While a run of queries is resolved, its rows lie behind them;
    those that have joined are in `waiting` until `settle` moves them up.
    """

    def __init__(self, columns: int, dtype: np.dtype[Any]) -> None:
        """Start empty, for rows of `columns` values."""
        self.rows = np.empty((0, columns), dtype)
        self.halves = halved_squares(self.rows)  # float64 where those of long rows are
        self.queries = np.empty(0, np.int64)
        self.start = 0
        self.stop = 0
        self.largest = 0.0  # at least the largest of `halves`
        self.threshold = 0.0  # T_c
        self.waiting: list[int] = []  # few and not for long: a deque would keep 1 KB for them
        self._distances = np.empty(8)  # DG_c, from `_first` to `_last`
        self._first = 0
        self._last = 0

    @property
    def empty(self) -> bool:
        """Whether there is no member, settled or waiting."""
        return self._first == self._last

    def reserve(self, rows: NDArray[Any], halves: NDArray[Any]) -> None:
        """Put `(k, d)` rows behind the members, with half their squared norms `(k,)`.

        Rows of a narrower type than the members' get norms as exact as the error bound of the
        members' type expects them.
        """
        if rows.dtype != self.rows.dtype:
            halves = halved_squares(rows.astype(self.rows.dtype))
        end = self.stop + len(rows)
        if end > len(self.rows):
            live = slice(self.start, self.stop)
            size = _roomy(end - self.start)
            self.rows = _moved(self.rows, live, size)
            self.halves = _moved(self.halves, live, size)
            self.queries = _moved(self.queries, live, size)
            self.start, self.stop = 0, live.stop - live.start
            self.largest = float(self.halves[: self.stop].max(initial=0.0))
            end -= live.start
        self.rows[self.stop : end] = rows
        self.halves[self.stop : end] = halves
        self.largest = max(self.largest, *halves.tolist())

    def widen(self) -> None:
        """Hold rows in float64 from now on."""
        self.rows = self.rows.astype(np.float64)
        self.halves = halved_squares(self.rows)
        self.largest = float(self.halves[: self.stop].max(initial=0.0))

    def join(self, position: int, query: int, distance: float) -> None:
        """Make the row at a position a member: DG_c gains its distance, T_c may rise."""
        self.queries[position] = query
        self.waiting.append(position)
        if self._last == len(self._distances):
            live = slice(self._first, self._last)
            self._first, self._last = 0, self._last - self._first
            self._distances = _moved(self._distances, live, max(8, 2 * self._last))
        self._distances[self._last] = distance
        self._last += 1
        n = self._last - self._first
        if n > 1:  # the bits of numpy's mean and std, without their overhead
            grown = self._distances[self._first : self._last]
            mean = float(np.add.reduce(grown)) / n
            deviations = grown - mean
            np.multiply(deviations, deviations, out=deviations)
            std = math.sqrt(float(np.add.reduce(deviations)) / n)
            self.threshold = max(self.threshold, mean - std)

    def restore(
        self, rows: NDArray[Any], queries: list[int], distances: list[float], threshold: float
    ) -> None:
        """Hold, in an empty class, members as they were: oldest first, with DG_c and T_c."""
        self.reserve(rows, halved_squares(rows))
        self.stop = self._last = len(rows)
        self.queries[: self.stop] = queries
        self._distances = np.array(distances)
        self.threshold = threshold

    def forget(self) -> None:
        """Drop the oldest member; a class without members starts again."""
        self._first += 1
        if self.start < self.stop:
            self.start += 1
        else:
            del self.waiting[0]
        if self.empty:
            self.threshold = 0.0

    def settle(self) -> None:
        """Move what waits up to the other members."""
        for position in self.waiting:
            if position != self.stop:
                self.rows[self.stop] = self.rows[position]
                self.halves[self.stop] = self.halves[position]
                self.queries[self.stop] = self.queries[position]
            self.stop += 1
        self.waiting.clear()


def _roomy(count: int) -> int:
    """Give the length of an array that is to hold `count` rows, and then some.

    A quarter more, not twice as much: rows are most of what an account takes, and this is how much
    of them an account may come to hold all at once.
    """
    return count + count // 4 + 1


def _moved(array: NDArray[Any], live: slice, size: int) -> NDArray[Any]:
    """Copy the live part to the front of a new array of `size` rows."""
    new = np.empty((size, *array.shape[1:]), array.dtype)
    new[: live.stop - live.start] = array[live]
    return new
