"""Novelty: are an account's statistics, taken together, like those of any honest account?

Honest accounts have habits, and each detector's threshold has to suit all of them: frames, crops
and explainers are near copies by the hundred. A thief makes near copies, too, but with other
likelihoods, distances and growth than any of these. So what the other detectors say is held
together against what they said of honest accounts at any time of their lives: the statistic is the
distance to the nearest of these. Whoever is judged by the habit that he is nearest to has chosen
among many, and the threshold on the distance, which calibration takes from other honest accounts,
pays for that.

It is a k-centres data description (Tax, One-class classification, 2001, chapter 3) on the scores of
other detectors, from no paper on model theft.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from gamekeeper.detectors.base import Batch, Detector, Floats, Segment
from gamekeeper.detectors.header import Header
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.verdict import Kind

CODEC: Final = 1
MOST: Final = 8
"""Detectors that are read: more would make every account a habit of its own."""
POINTS: Final = 4096
"""Points in a profile, at most: each costs every query a distance."""

FARTHEST: Final = 100.0
"""A scaled statistic counts at most as this: asinh of the largest number is 711."""


class Habits(NamedTuple):
    """What honest accounts' statistics were: `(k, m)` points of `m` detectors, scaled.

    A statistic x is scaled as asinh((x - median) / scale), so that what is usual is resolved finely
    and what is far off coarsely; one that is not ready counts as the median, 0.
    """

    reads: tuple[str, ...]
    median: Floats
    scale: Floats
    points: Floats

    def scaled(self, statistics: Floats) -> Floats:
        """Scale `(n, m)` statistics."""
        with np.errstate(over="ignore"):
            apart = np.arcsinh((statistics - self.median) / self.scale)
        found: Floats = np.clip(np.nan_to_num(apart, nan=0.0), -FARTHEST, FARTHEST)
        return found

    def raw(self, point: int) -> Floats:
        """Give the statistics `(m,)` of a point."""
        found: Floats = np.sinh(self.points[point]) * self.scale + self.median
        return found

    def nearest(self, scaled: Floats) -> tuple[Floats, list[int]]:
        """Give the distances `(n,)` of scaled statistics to their nearest points, and these."""
        squares = np.zeros((len(scaled), len(self.points)))
        for mine, theirs in zip(scaled.T, self.points.T, strict=True):
            # One column after the other: the sum's bits are the same in any batch.
            squares += np.square(mine[:, None] - theirs)
        near = squares.argmin(axis=1)
        return np.sqrt(squares[np.arange(len(near)), near]), near.tolist()


def written(habits: Habits) -> str:
    """Write habits as an option: names; medians; scales; points, with commas in between.

    >>> text = written(Habits(("prada",), np.array([0.5]), np.array([0.25]), np.array([[0.0]])))
    >>> text, parsed(text).raw(0)
    ('prada;0.5;0.25;0', array([0.5]))
    """
    rows = [_numbers(habits.median, "%.9g"), _numbers(habits.scale, "%.9g")]
    points = dict.fromkeys(_numbers(each, "%.3f") for each in habits.points)
    return ";".join([",".join(habits.reads), *rows, *points])


def _numbers(values: Iterable[float], form: str) -> str:
    return ",".join(f"{float(form % value):g}" for value in values)


@lru_cache(maxsize=8)
def parsed(text: str) -> Habits:
    """Read habits, once for all accounts; raises `ProfileError`."""
    try:
        names, *rows = text.split(";")
        reads = tuple(names.split(","))
        values = np.array([[float(value) for value in row.split(",")] for row in rows], np.float64)
        median, scale, points = values[0], values[1], values[2:]
        fits = len(reads) == values.shape[1] <= MOST and 1 <= len(points) <= POINTS
        fits = fits and len({Novelty.name, *reads}) == 1 + len(reads)
        if fits and np.isfinite(values).all() and all(scale > 0):
            return Habits(reads, median, scale, points)
    except (ValueError, IndexError):
        pass
    raise ProfileError(
        "novelty.habits cannot be read: `gamekeeper calibrate` writes it, as names of other "
        "detectors, medians, scales and points, with semicolons in between"
    )


class Novelty(Detector):
    """How far an account's statistics, together, lie from any honest account's: 0 upwards.

    With x the latest statistics of the detectors that it reads, scaled (`Habits`), the statistic is
    the least Euclidean distance of x to a point of `habits`. NaN until one of them is ready.

    Its limits. It sees what its detectors see, and no more: who imitates a habit in all of them is
    not seen, and a habit that calibration has not seen is. It needs some accounts of each habit, of
    which half teach the habits and half the threshold.

    State is one number for each detector that it reads.

    >>> detector = Novelty(habits="prada,ood;0.02,0.1;0.01,0.1;0,0;3,0")
    >>> statistics = np.array([[0.02, 0.1], [0.12, 0.1], [0.12, 0.8]])
    >>> batch = Batch(0, np.zeros((3, 1)), np.zeros(3, int), statistics=statistics)
    >>> detector.update(batch).round(2)
    array([0.  , 0.  , 2.64])
    """

    name: ClassVar[str] = "novelty"
    kind: ClassVar[Kind] = "other data"
    threshold = math.nan
    """None suits all: the distance depends on how many honest accounts taught the habits."""
    _rows: Floats  # of the last batch, scaled
    _near: list[int]  # its nearest points
    _latest: Floats  # `(m,)` statistics, NaN where not yet ready

    def __init__(self, *, habits: str = "") -> None:
        """Say what honest accounts do; raises `ProfileError`.

        Args:
            habits: what honest accounts' statistics were, as `gamekeeper calibrate` writes it;
                empty: nothing is known yet, and it is never ready.
        """
        self._habits = parsed(habits) if habits else None
        self.reads = self._habits.reads if self._habits else ()
        self._header = Header(self.name, CODEC, [list(self.reads)])
        self.reset()

    def update(self, batch: Batch) -> Floats:
        """Take the others' `(n, m)` statistics; return `(n,)` distances."""
        if self._habits is None or batch.statistics is None:
            return np.full(len(batch), np.nan)
        known = filled(np.vstack([self._latest, batch.statistics]))[1:]
        self._rows = self._habits.scaled(known)
        if len(known):
            self._latest = known[-1]
        distances, self._near = self._habits.nearest(self._rows)
        self._distances = np.where(np.isnan(known).all(axis=1), np.nan, distances)
        self._known = known
        return self._distances

    def evidence(self, row: int) -> dict[str, Any]:
        """Give the account's statistics, those of the honest account most like it, what differs.

        `differs` names the detectors, the one that differs most first; null is "not ready".
        """
        assert self._habits is not None
        point = self._near[row]
        apart = np.abs(self._rows[row] - self._habits.points[point])
        own, like = self._known[row].tolist(), self._habits.raw(point).tolist()
        return {
            "distance": float(self._distances[row]),
            "differs": [self.reads[at] for at in np.argsort(-apart, kind="stable").tolist()],
            "statistics": {
                name: None if math.isnan(value) else value
                for name, value in zip(self.reads, own, strict=True)
            },
            "nearest": dict(zip(self.reads, like, strict=True)),
        }

    @classmethod
    def tell(cls, evidence: Mapping[str, Any]) -> str:
        """Say which statistics make it unlike all honest accounts."""
        parts = [
            f"{name} {_said(evidence['statistics'][name])} for {_said(evidence['nearest'][name])}"
            for name in evidence["differs"][:2]
        ]
        return (
            "what its detectors say together they said of no honest account: of the one most "
            f"like it they differ most in {' and '.join(parts)}"
        )

    def reset(self) -> None:
        """Forget the statistics."""
        self._latest = np.full(len(self.reads), np.nan)
        self._rows = self._known = np.empty((0, len(self.reads)))
        self._near, self._distances = [], np.empty(0)

    def header(self) -> bytes:
        """Encode the latest statistics."""
        return self._header.pack(self._latest.tolist())

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore a fresh detector; raises `StateError` where the header does not fit."""
        with self._header.fields(header) as (latest,):
            self._latest = np.array(latest, np.float64).reshape(len(self.reads))


def filled(statistics: Floats) -> Floats:
    """Put the latest known value in the place of NaN, down each column of `(n, m)` statistics.

    >>> filled(np.array([[np.nan], [1.0], [np.nan], [2.0]])).ravel()
    array([nan,  1.,  1.,  2.])
    """
    rows = np.arange(len(statistics))[:, None]
    latest = np.maximum.accumulate(np.where(np.isnan(statistics), 0, rows), axis=0)
    return np.take_along_axis(statistics, latest, axis=0)


def _said(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.3g}"
