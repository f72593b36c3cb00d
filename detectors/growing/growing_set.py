"""The growing set of PRADA: per class, the queries that were far from all earlier ones.

For each query x of predicted class c: where G_c is empty, x joins it, DG_c holds 0 and T_c is 0.
Else d is the smallest distance of x to G_c; where d > T_c, x joins G_c, d joins DG_c, and
T_c = max(T_c, mean(DG_c) - std(DG_c)), with the population standard deviation.

A run of queries is compared with its classes' members in one matrix product per class (`nearest`),
then resolved in order; the nearest is measured directly in float64. So distances and decisions are
those of the obvious loop, bit for bit, however queries are batched.

**Bounded.** At most `growths` members over all classes and at most `megabytes` of their rows; the
oldest member of all is forgotten first, with its share of DG_c. A class whose members are all
forgotten starts again. Rows of another length than a class's are a set of their own (a model
that takes inputs of several shapes); rows of another type are compared by value.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.growing.class_set import ClassSet
from gamekeeper.detectors.growing.distances import DISTANCES
from gamekeeper.detectors.growing.log import SEGMENT_BYTES, Encoder, Item, Key, pack, unpack
from gamekeeper.detectors.growing.meeting import Meeting
from gamekeeper.detectors.growing.nearest import MOST_QUERIES, halved_squares
from gamekeeper.schemas.errors import ProfileError, StateError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_QUERIES = 64
"""Runs are shorter while there are few members: queries would mostly meet each other."""
RUN_BYTES = 8 * 2**20
"""Bound of a run's rows in float64: large rows are resolved in shorter runs."""
MEASURED_BYTES = 256 * 1024
"""Rows measured at once, in float64: they stay in the processor's cache."""


class Steps(NamedTuple):
    """What each of `n` queries did, arrays of length `n`."""

    distance: Floats
    """To the nearest member of its class; NaN where there was none."""
    nearest: Ints
    """Index of the nearest member's query; -1 where there was none."""
    joined: NDArray[np.bool_]
    """Whether the query became a member."""
    size: Ints
    """Members over all classes after the query."""


class GrowingSet:
    """All classes' growing sets of one account, with their state as an append-only log."""

    def __init__(self, distance: str = "l2", growths: int = 4096, megabytes: int = 64) -> None:
        """Start empty, with the bounds of the module's text; raises `ProfileError`."""
        if growths < 1 or megabytes < 1:
            raise ProfileError(f"growths and megabytes are at least 1, not {growths}, {megabytes}")
        self._distance = DISTANCES[distance]
        self._most = growths
        self._budget = megabytes * 2**20
        self._grown = 0
        self._widest = 0
        self.clear()

    def clear(self) -> None:
        """Forget all members; log positions go on."""
        self._classes: dict[Key, ClassSet] = {}
        self._order: deque[tuple[Key, int]] = deque()  # oldest first, with bytes
        self._pending: deque[bytes] = deque()  # encoded, not yet drained
        self._emptied: set[Key] = set()
        self._bytes = 0
        self._forgotten = self._grown

    def update(self, first: int, inputs: NDArray[Any], labels: Ints) -> Steps:
        """Take `(n, *shape)` queries of classes `(n,)`, the first of which has index `first`."""
        n = len(labels)
        steps = Steps(
            np.full(n, np.nan), np.full(n, -1, np.int64), np.zeros(n, bool), np.empty(n, np.int64)
        )
        rows = np.ascontiguousarray(inputs).reshape(n, math.prod(inputs.shape[1:]))
        longest = min(MOST_QUERIES, max(1, RUN_BYTES // max(1, 8 * rows.shape[1])))
        start = 0
        with np.errstate(all="ignore"):  # overflow is expected, and told by the error bound
            while start < n:
                stop = start + min(longest, max(LEAST_QUERIES, len(self._order) // 4))
                run = Steps(
                    steps.distance[start:stop],
                    steps.nearest[start:stop],
                    steps.joined[start:stop],
                    steps.size[start:stop],
                )
                self._take(first + start, rows[start:stop], labels[start:stop].tolist(), run)
                start = stop
        return steps

    def _take(self, first: int, raw: NDArray[Any], labels: list[int], steps: Steps) -> None:
        """Take a run of queries: compare all with what was there before, then go in order."""
        columns = raw.shape[1]
        rows = self._distance.prepare(raw)
        halves = halved_squares(rows) if self._distance.product else np.zeros(len(rows))
        groups: dict[int, list[int]] = {}
        for i, label in enumerate(labels):
            groups.setdefault(label, []).append(i)
        places: list[tuple[Meeting, int]] = [None] * len(rows)  # type: ignore[list-item]
        partners = rows.copy()
        for label, group in groups.items():
            members = self._class((label, columns), rows.dtype)
            own = slice(group[0], group[0] + 1) if len(group) == 1 else group
            meeting = Meeting(self._distance, members, rows[own], halves[own])
            if meeting.order is not None and meeting.base < meeting.end:
                best = meeting.order.best
                if members.rows.itemsize > partners.itemsize:
                    partners = partners.astype(members.rows.dtype)
                partners[own] = members.rows[[each + meeting.base for each in best]]
            for at, i in enumerate(group):
                places[i] = meeting, at
        measured = self._measure(rows, partners)
        encode = Encoder(raw)
        for i, (meeting, at) in enumerate(places):
            members = meeting.members
            distance, joins = 0.0, True
            if not members.empty:
                distance, position = meeting.nearest(at, rows[i], measured[i])
                joins = distance > members.threshold
                steps.distance[i] = distance
                steps.nearest[i] = members.queries[position]
            if joins:
                steps.joined[i] = True
                members.join(meeting.end + at, first + i, distance)
                key = (labels[i], columns)
                item = encode(i, key, first + i, distance, members.threshold)
                self._pending.append(item)
                self._remember(key, len(item))
            steps.size[i] = len(self._order)
        self._settle((label, columns) for label in groups)

    def _class(self, key: Key, dtype: np.dtype[Any]) -> ClassSet:
        members = self._classes.get(key)
        if members is None:
            members = self._classes[key] = ClassSet(key[1], dtype)
        elif dtype == np.float64 and members.rows.dtype != np.float64:
            members.widen()
        return members

    def _measure(self, rows: NDArray[Any], partners: NDArray[Any]) -> list[float]:
        """Measure each row against its partner, a few at a time."""
        size = max(1, MEASURED_BYTES // max(8, 8 * rows.shape[1]))
        found: list[float] = []
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            found += self._distance.exact(rows[part], partners[part]).tolist()
        return found

    def _remember(self, key: Key, size: int) -> None:
        """Count a member in, and forget the oldest where bounds are hit."""
        self._count(key, size)
        while len(self._order) > self._most or (
            self._bytes > self._budget and len(self._order) > 1
        ):
            oldest, freed = self._order.popleft()
            self._bytes -= freed
            self._forgotten += 1
            members = self._classes[oldest]
            members.forget()
            if members.empty:
                self._emptied.add(oldest)
        while len(self._pending) > len(self._order):
            self._pending.popleft()

    def _count(self, key: Key, size: int) -> None:
        self._order.append((key, size))
        self._bytes += size
        self._widest = max(self._widest, size)
        self._grown += 1

    def _settle(self, keys: Iterable[Key]) -> None:
        """Tidy up after a run the classes that it met, and those that it emptied."""
        for key in (*keys, *self._emptied):
            members = self._classes.get(key)
            if members is not None:
                members.settle()
                if members.empty:
                    del self._classes[key]
        self._emptied.clear()

    @property
    def position(self) -> tuple[int, int]:
        """The log's: members ever, and those of them forgotten."""
        return self._grown, self._forgotten

    def limit(self) -> int:
        """State the most bytes the log's live segments take, one of them partly forgotten."""
        by_count = self._most * self._widest
        return min(by_count, self._budget + self._widest) + SEGMENT_BYTES

    def drain(self) -> list[Segment]:
        """Hand out the members that joined since the last call and are still here."""
        segments = pack(self._pending, self._grown - len(self._pending))
        self._pending.clear()
        return segments

    def load(self, grown: int, forgotten: int, segments: Iterable[Segment]) -> None:
        """Restore from the log's position and live segments; raises `StateError`."""
        self._grown = forgotten
        self.clear()
        classes: dict[Key, list[Item]] = {}
        for segment in segments:
            items = list(unpack(segment.data))
            for position, item in enumerate(items, segment.end - len(items)):
                if position == self._grown < grown:
                    classes.setdefault(item.key, []).append(item)
                    self._count(item.key, item.size)
        if self._grown != grown:
            raise StateError(
                f"growths {self._grown} to {grown} are missing from the saved state: "
                "restore the log from the changelog, or start the account afresh"
            )
        with np.errstate(all="ignore"):  # as in `update`
            for key, members in classes.items():
                self._restore(key, members)

    def _restore(self, key: Key, members: list[Item]) -> None:
        """Bring back a class from its members, all at once: one by one takes ten times as long."""
        kinds = [list(each) for _, each in groupby(members, key=lambda item: item.row.dtype)]
        rows = np.concatenate([self._distance.prepare(_stacked(each)) for each in kinds])
        queries, distances = [each.query for each in members], [each.distance for each in members]
        self._class(key, rows.dtype).restore(rows, queries, distances, members[-1].threshold)


def _stacked(items: list[Item]) -> NDArray[Any]:
    return np.stack([item.row for item in items])
