"""PRADA's first version: does the growing set suddenly stop growing?

Juuti et al., first version of the PRADA paper, Algorithm 1. The size of the growing set (shared
with `prada`) against the number of queries is steady for natural queries and bends where synthetic
ones begin, because those lie close to their seeds. The text's formula (7), "ratio of change" of the
derivative "over the current and the previous window" with "a constant for numerical stability", is
lost; here it is, with J(t) the number of queries among the first t that joined the growing set:

    ratio(t) = (J(t - w) - J(t - 2w) + 1) / (J(t) - J(t - w) + 1)

The constant is one query, the smallest growth there is. The ratio is above 1 where growth slows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gamekeeper.detectors.base import Batch, Detector, Floats, Segment
from gamekeeper.detectors.growing import DISTANCES, GrowingSet
from gamekeeper.detectors.growing import log as growth_log
from gamekeeper.detectors.header import Header
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.verdict import Kind

CODEC = 1
LONGEST_WINDOW = 1000
"""Two windows of joins lie in the header, which is to stay below 4 KiB."""


class PradaV1(Detector):
    """Algorithm 1; the statistic is the ratio above, NaN until two windows are full.

    200 honest queries, then copies of them that are one step away and join nothing:

    >>> rng = np.random.default_rng(0)
    >>> honest = rng.normal(size=(200, 64))
    >>> made = honest[:40] + 0.1 * rng.choice([-1, 1], size=(40, 64))
    >>> detector = PradaV1(window=30)
    >>> detector.update(Batch(0, honest, np.zeros(200, int)))[[58, 199]].round(2)
    array([ nan, 0.97])
    >>> detector.update(Batch(200, made, np.zeros(40, int)))[[0, 9, 29]].round(1)
    array([ 1. ,  1.3, 30. ])
    >>> detector.evidence(29)
    {'window': 30, 'growth': 0, 'growth_before': 29, 'growing_set': 192}
    """

    name: ClassVar[str] = "prada-v1"
    kind: ClassVar[Kind] = "variants"
    threshold = 5.0

    def __init__(
        self,
        *,
        window: int = 30,
        distance: str = "l2",
        growths: int = 4096,
        megabytes: int = 64,
    ) -> None:
        """Choose the window, the distance and the growing set's bounds.

        Raises `ProfileError`.

        Args:
            window: queries in each of the two windows that are compared, at most 1,000.
            distance: `l2`, `l1`, `linf` or `cosine`.
            growths: the most members of the growing set that are kept; the oldest go first.
            megabytes: the most that their rows take.
        """
        if not 1 <= window <= LONGEST_WINDOW:
            raise ProfileError(f"prada-v1.window is {window}; it is from 1 to {LONGEST_WINDOW}")
        if distance not in DISTANCES:
            raise ProfileError(
                f"prada-v1.distance is {distance!r}; there are: {', '.join(DISTANCES)}"
            )
        self._header = Header(self.name, CODEC, [window, distance, growths, megabytes])
        self._window = window
        self._growing = GrowingSet(distance, growths, megabytes)
        self._joins = np.empty(0, bool)
        self._sizes = np.empty(0, np.int64)

    def update(self, batch: Batch) -> Floats:
        """Take `n` queries; return `(n,)` ratios, NaN before query 2 w."""
        steps = self._growing.update(batch.first, batch.inputs, batch.labels)
        self._sizes = steps.size
        before = self._joins[-2 * self._window :]
        self._joins = np.concatenate([before, steps.joined])
        current, previous = self._growth(len(batch))
        ratios = (previous + 1.0) / (np.maximum(current, 0.0) + 1.0)
        return np.where(previous >= 0, ratios, np.nan)

    def _growth(self, rows: int) -> tuple[Floats, Floats]:
        """Count the joins in the current and the previous window, -1 where there is no such."""
        w = self._window
        total = np.concatenate([[0], np.cumsum(self._joins)])
        ends = np.arange(len(total) - rows, len(total))
        current = np.where(ends >= w, total[ends] - total[np.maximum(ends - w, 0)], -1)
        middle, start = np.maximum(ends - w, 0), np.maximum(ends - 2 * w, 0)
        previous = np.where(ends >= 2 * w, total[middle] - total[start], -1)
        return current.astype(np.float64), previous.astype(np.float64)

    def evidence(self, row: int) -> dict[str, Any]:
        """Say how much the growing set grew in both windows before and with `row`."""
        current, previous = self._growth(len(self._sizes))
        ready = previous[row] >= 0
        return {
            "window": self._window,
            "growth": int(current[row]) if ready else None,
            "growth_before": int(previous[row]) if ready else None,
            "growing_set": int(self._sizes[row]),
        }

    @classmethod
    def tell(cls, evidence: Mapping[str, Any]) -> str:
        """Say how the growth fell."""
        return (
            f"its latest {evidence['window']:,} queries brought {evidence['growth']} new members "
            "to the set of those that are far from all others, those before them "
            f"{evidence['growth_before']}"
        )

    def reset(self) -> None:
        """Forget all queries; log positions go on."""
        self._growing.clear()
        self._joins = np.empty(0, bool)
        self._sizes = np.empty(0, np.int64)

    def drain(self) -> list[Segment]:
        """Hand out new members of the growing set."""
        return self._growing.drain()

    def header(self) -> bytes:
        """Encode options, positions and the joins of two windows."""
        joins = self._joins[-2 * self._window :].tobytes()
        return self._header.pack(*self._growing.position, joins)

    def horizon(self) -> dict[str, int]:
        """Say up to which position the log is forgotten."""
        return {growth_log.LOG: self._growing.position[1]}

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore a fresh detector; raises `StateError` where header or segments do not fit."""
        with self._header.fields(header) as (grown, forgotten, flags):
            joins = np.frombuffer(flags, bool)
        self._growing.load(grown, forgotten, segments)
        self._joins = joins
        self._sizes = np.empty(0, np.int64)

    def limit(self) -> int:
        """State the most bytes of state: the growing set's and the header."""
        return self._growing.limit() + 4096
