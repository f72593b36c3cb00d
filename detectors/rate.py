"""Rate: how fast does an account ask, and how evenly over the model's classes?

What operators look at first, and a baseline for all other detectors, from no paper: who copies a
model wants many answers soon, of every class. Queries are not looked at, so that a patient thief is
not seen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gamekeeper.detectors.base import Batch, Detector, Floats, Segment
from gamekeeper.detectors.header import Header
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.verdict import Kind

CODEC = 1
WINDOWS = (10, 200)
"""The least and the most queries in a window: the header that holds them stays below 4 KiB."""
SECOND = 1_000_000
SHORTEST = SECOND
"""Queries of one request share its time; so many microseconds count for them at least."""


class Rate(Detector):
    """Queries per second, times the number of classes they are spread over; NaN before `window`.

    Over the last `window` queries: their number by the time between the first and the last of them
    (by the events' clocks, which may go back; one second at least), times exp(H), H the entropy of
    their labels: 1 where all are of one class, k where k classes are as frequent. So 0 upwards.

    Its limits. Whoever asks slowly, or under many accounts, is not seen; a load test or a nightly
    batch is. What is usual differs by service: there is no threshold but a calibrated one.

    State is `window` times and labels, below 4 KiB; the oldest are forgotten first.

    >>> batch = Batch(0, np.zeros((20, 1)), np.arange(20) % 2, times=np.arange(20) * 100_000)
    >>> Rate(window=10).update(batch)[[8, 9, 19]].round(2).tolist()
    [nan, 20.0, 20.0]
    """

    name: ClassVar[str] = "rate"
    kind: ClassVar[Kind] = "load"
    threshold = math.nan
    """None suits all services. The profile has to name one."""
    _latest: list[tuple[int, int]]  # (time, label), those of the last batch's start included
    _ends: list[int]  # after each query of the last batch: where in `_latest` its window ends

    def __init__(self, *, window: int = 100) -> None:
        """Choose over how many queries rate and entropy are taken; raises `ProfileError`.

        Args:
            window: queries, the latest, over which rate and entropy are taken; 10 to 200.
        """
        if not WINDOWS[0] <= window <= WINDOWS[1]:
            raise ProfileError(
                f"rate.window is {window}: give {WINDOWS[0]} to {WINDOWS[1]} queries"
            )
        self._window = window
        self._header = Header(self.name, CODEC, [window])
        self.reset()

    def update(self, batch: Batch) -> Floats:
        """Take `n` queries; return `(n,)` statistics, NaN before `window` of them."""
        before = self._latest[-self._window :]
        self._latest = before + list(zip(batch.times.tolist(), batch.labels.tolist(), strict=True))
        self._ends = list(range(len(before) + 1, len(self._latest) + 1))
        return np.array([self._statistic(end) for end in self._ends], np.float64)

    def _statistic(self, end: int) -> float:
        if end < self._window:
            return math.nan
        return self._per_second(end) * math.exp(self._entropy(end))

    def _part(self, end: int) -> list[tuple[int, int]]:
        return self._latest[max(0, end - self._window) : end]

    def _per_second(self, end: int) -> float:
        times = [time for time, _ in self._part(end)]
        return len(times) * SECOND / max(max(times) - min(times), SHORTEST)

    def _entropy(self, end: int) -> float:
        """Give the labels' entropy in nats; an exact sum, whatever the order of the classes."""
        labels = [label for _, label in self._part(end)]
        shares = [count / len(labels) for count in Counter(labels).values()]
        return math.fsum(share * math.log(1 / share) for share in shares)

    def evidence(self, row: int) -> dict[str, Any]:
        """Say how fast and how even the queries up to `row` were."""
        end = self._ends[row]
        return {
            "queries": len(self._part(end)),
            "per_second": self._per_second(end),
            "label_entropy": self._entropy(end),
            "classes": len({label for _, label in self._part(end)}),
        }

    @classmethod
    def tell(cls, evidence: Mapping[str, Any]) -> str:
        """Say how fast and how even."""
        return (
            f"its latest {evidence['queries']:,} queries came at {evidence['per_second']:.3g} a "
            f"second, over {evidence['classes']} classes"
        )

    def reset(self) -> None:
        """Forget all queries."""
        self._latest, self._ends = [], []

    def header(self) -> bytes:
        """Encode the window."""
        return self._header.pack(self._latest[-self._window :])

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore a fresh detector; raises `StateError` where the header does not fit."""
        with self._header.fields(header) as (latest,):
            self._latest = [(int(time), int(label)) for time, label in latest]
