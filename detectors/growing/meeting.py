"""A run's queries of one class meet the class: which member is nearest to each, query by query."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.growing.class_set import ClassSet
from gamekeeper.detectors.growing.distances import L2
from gamekeeper.detectors.growing.nearest import Order, order_many, order_one

Ints = NDArray[np.int64]


class Meeting:
    """A run's queries of one class, and the class's members as they were when the run began."""

    __slots__ = ("base", "distance", "end", "members", "order")

    def __init__(
        self, distance: L2, members: ClassSet, rows: NDArray[Any], halves: NDArray[Any]
    ) -> None:
        """Put `(k, d)` rows behind the members, and order all by their distance to each."""
        members.reserve(rows, halves)
        self.distance = distance
        self.members = members
        self.base = start = members.start
        self.end = stop = members.stop
        self.order: Order | None = None
        if distance.product and len(rows) > 1:
            known = slice(start, stop + len(rows))
            self.order = order_many(
                members.rows[known], members.halves[known], stop - start, members.largest
            )
        elif distance.product and start < stop:
            known = slice(start, stop)
            self.order = order_one(
                members.rows[stop : stop + 1],
                members.halves.item(stop),
                members.rows[known],
                members.halves[known],
                members.largest,
            )

    def nearest(self, at: int, row: NDArray[Any], measured: float) -> tuple[float, int]:
        """Give the distance and position of the member nearest to the run's query `at`.

        `measured` is the distance to the member that the order is sure of, if it is of any.
        """
        order, members = self.order, self.members
        if order is None:
            return self._search(row, self._here())
        best = order.best[at]
        position = best + self.base
        if best < 0 or position < members.start:
            here = self._here()
            values = order.values[at].take(here - self.base)
            return self._search(row, here[~(values > values.min() + order.tolerance[at])])
        if members.waiting and not order.alone[at]:
            values = order.values[at]
            most = values.item(best) + order.tolerance[at]
            near = [p for p in members.waiting if not values.item(p - self.base) > most]
            if near:
                distance, other = self._search(row, np.array(near))
                if distance < measured:
                    return distance, other
        return measured, position

    def _here(self) -> Ints:
        """Positions of all members, oldest first."""
        waiting = np.array(self.members.waiting, np.int64)
        return np.concatenate([np.arange(self.members.start, self.end), waiting])

    def _search(self, row: NDArray[Any], positions: Ints) -> tuple[float, int]:
        """Measure all; of equals the oldest is the nearest."""
        distances = self.distance.exact(row, self.members.rows[positions])
        best = int(distances.argmin())
        return distances.item(best), int(positions[best])
