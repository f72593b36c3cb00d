"""Spacing: do an account's queries lie as far from each other as honest ones do?

Data that come as they come have nearest neighbours at a distance that falls slowly with their
number, as a power of it. Who makes queries lies beside that: variants of a few originals lie nearer
to each other, and what a generator draws, or a transform moves far, lies nearer or farther than
what the model was made for. So the distance to the nearest earlier query of the same answer is held
against what is usual for as many remembered queries, on either side.

From no paper.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch, Detector, Fitted, Floats, Segment
from gamekeeper.detectors.header import Header
from gamekeeper.detectors.vectors import Bounds, Ints, Position, VectorHistory, closest, finite
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.verdict import Kind

CODEC: Final = 1
MOST: Final = 3.0
"""Deviations that one query counts at most: a few repeats from afar are no change of the whole."""
UNIT: Final = 1024
"""Deviations are kept in this part of one: sums of whole numbers are the same in any batches."""
FAR: Final = 2.0
"""Deviations from which a query is named in the evidence."""
LATEST: Final = 5
"""Queries that the evidence names."""
WARM_UP: Final = 50
"""Queries before the first statistic, as `likelihood` has it."""
WINDOWS: Final = (50, 1000)
"""The header holds two bytes for each query of a window, and stays below 4 KiB."""
LABEL: Final = 8
"""Bytes of an answer, at the end of each remembered query."""
BATCH: Final = 256
HISTORY, MEGABYTES = 1000, 16
LEAST, WIDEST = 1e-3, 100.0
"""Deviations of the logarithm that are believed: in made-up data all distances are equal."""


class Found(NamedTuple):
    """The nearest earlier query of the same answer, `distance` away; `among` are remembered."""

    query: int
    earlier: int
    distance: float
    among: int


class Odd(NamedTuple):
    """A query at an unusual distance from its nearest earlier one, by so many deviations."""

    query: int
    earlier: int
    distance: float
    deviations: float


class _Remembered:
    """The latest different queries with their answers, and each one's nearest earlier of these."""

    def __init__(self, history: int, megabytes: int) -> None:
        bounds = Bounds(history, megabytes, reserve=0, keep=1, secret=0)
        self.history = VectorHistory(bounds, narrow=True)

    def add(self, queries: Ints, inputs: NDArray[Any], labels: Ints) -> Iterator[Found | None]:
        """Give for each query what is nearest to it; None where nothing has its answer."""
        flat = finite(inputs.reshape(len(inputs), math.prod(inputs.shape[1:])))
        answers = labels.astype("<i8").view(np.uint8).reshape(len(labels), LABEL)
        vectors = np.hstack([flat, answers.astype(np.float32)])
        for at in range(0, len(queries), BATCH):
            part = slice(at, at + BATCH)
            index = self.history.add(queries[part], vectors[part]).among
            count = len(queries[part])
            near = {each.row: each for each in index.nearest(count, LABEL)}
            for row in range(len(index) - count, len(index)):
                if row not in near:
                    yield None
                    continue
                distance, other = closest(index, near[row])
                among = len(index.live(row))
                yield Found(index.query(row), index.query(other), distance, among)
            self.history.settle()


def _distances(rows: NDArray[Any]) -> Floats:
    """Read logarithms of remembered queries and of the distance `(k, 2)`, of `(n, d + 1)` rows.

    The last column is the answer; repeats are left out.
    """
    _, first = np.unique(rows[:, :-1], axis=0, return_index=True)
    kept = rows[np.sort(first)]
    labels = kept[:, -1].astype(np.int64)
    found = _Remembered(HISTORY, MEGABYTES).add(np.arange(len(kept)), kept[:, :-1], labels)
    pairs = [(each.among, each.distance) for each in found if each is not None and each.distance]
    return np.log(np.array(pairs, np.float64).reshape(len(pairs), 2))


def _usual(readings: Sequence[NDArray[Any]]) -> str:
    """Fit the logarithm of the distance: at one remembered query, its slope, and its deviation."""
    known = np.concatenate([*readings, np.empty((0, 2))])
    if len(np.unique(known[:, 0])) < 2:
        raise ProfileError(
            f"spacing.usual cannot be chosen from {len(known)} distances of {len(readings)} "
            "accounts: use longer lives, or give it with --set spacing.usual=START,SLOPE,DEVIATION"
        )
    slope, start = np.polyfit(known[:, 0], known[:, 1], 1)
    deviation = (known[:, 1] - start - slope * known[:, 0]).std()
    return f"{start:.6g},{slope:.6g},{max(deviation, LEAST):.6g}"


def _parsed(usual: str) -> tuple[float, float, float]:
    with suppress(ValueError):
        start, slope, deviation = map(float, usual.split(","))
        if math.isfinite(start + slope) and 0 < deviation <= WIDEST:
            return start, slope, deviation
    raise ProfileError(
        f"spacing.usual is {usual!r}: `gamekeeper calibrate` chooses it, as START,SLOPE,DEVIATION"
    )


class Spacing(Detector):
    """How far the latest distances to nearest queries lie from usual ones, 0 upwards.

    With d the distance (Euclidean) of a query to the nearest that has its answer, of m remembered,
    `usual` = (a, b, s) and z = (log d - a - b log m) / s, of at most three deviations, the
    statistic is |sum of z| / sqrt(window) over the latest `window` different queries.

    Its limits. It says that data are spaced otherwise, not why: another camera, frames and crops
    are, too. Who sends natural queries of the model's own kind is not seen, nor who balances nearer
    with farther ones.

    State is at most `history` inputs and `megabytes`, as `steps` keeps them, and a header below
    4 KiB; the oldest are forgotten first.

    200 honest queries, then one from each a tenth as far away:

    >>> rng = np.random.default_rng(0)
    >>> honest = rng.normal(size=(200, 30))
    >>> made = honest + 0.1 * rng.normal(size=(200, 30))
    >>> detector, labels = Spacing(usual="1.96,-0.053,0.1", window=100), np.zeros(200, int)
    >>> detector.update(Batch(0, honest, labels))[[48, 99, 199]].round(1)
    array([nan, 1.5, 0.6])
    >>> detector.update(Batch(200, made, labels))[[0, 9, 99]].round(1)
    array([ 0.9,  3.7, 30. ])
    """

    name: ClassVar[str] = "spacing"
    kind: ClassVar[Kind] = "other data"
    fitted: ClassVar[Fitted | None] = Fitted("usual", "0,0,1", _distances, _usual)
    threshold = math.nan
    """None suits all: how alike an account's distances are depends on what the model is for."""
    _parts: deque[int]  # of the window, oldest first
    _latest: list[Odd]  # oldest first
    _rows: list[tuple[int, int, int]]  # queries, sum of deviations, those noted

    def __init__(
        self,
        *,
        usual: str = "",
        window: int = 200,
        history: int = HISTORY,
        megabytes: int = MEGABYTES,
    ) -> None:
        """Say what is usual, and how much of the past counts; raises `ProfileError`.

        Args:
            usual: logarithm of the distance at one remembered query, its slope over the logarithm
                of their number, and its deviation, with commas; calibration fits them.
            window: different queries, the latest, over which deviations are added up.
            history: different queries, the latest, that are compared with.
            megabytes: the most that their inputs take.
        """
        if not WINDOWS[0] <= window <= WINDOWS[1]:
            raise ProfileError(
                f"spacing.window is {window}; it is from {WINDOWS[0]} to {WINDOWS[1]}"
            )
        self._usual = _parsed(usual)
        self._window, self.distinct = window, history
        self._header = Header(self.name, CODEC, [usual, window, history, megabytes])
        self._remembered = _Remembered(history, megabytes)
        self.reset()

    def update(self, batch: Batch) -> Floats:
        """Take `n` queries; return their `(n,)` statistics, NaN before 50."""
        self._rows = []
        self._latest = self._latest[-LATEST:]
        for found in self._remembered.add(batch.queries, batch.inputs, batch.labels):
            self._count(self._deviation(found), found)
        return np.array([self._statistic(seen, total) for seen, total, _ in self._rows], np.float64)

    def _deviation(self, found: Found | None) -> float:
        if found is None:
            return 0.0
        start, slope, deviation = self._usual
        usual = start + slope * math.log(found.among)
        z = (math.log(found.distance) - usual) / deviation if found.distance else -MOST
        return min(max(z, -MOST), MOST)

    def _count(self, z: float, found: Found | None) -> None:
        part = round(UNIT * z)
        self._sum += part - (self._parts[0] if len(self._parts) == self._window else 0)
        self._parts.append(part)
        self._seen += 1
        if found is not None and abs(z) >= FAR:
            self._latest.append(Odd(found.query, found.earlier, found.distance, z))
        self._rows.append((self._seen, self._sum, len(self._latest)))

    def _statistic(self, seen: int, total: int) -> float:
        return math.nan if seen < WARM_UP else abs(total) / UNIT / math.sqrt(self._window)

    def evidence(self, row: int) -> dict[str, Any]:
        """Give the mean deviation as of `row`, and name the latest unusual queries."""
        seen, total, noted = self._rows[row]
        mean = total / UNIT / max(min(seen, self._window), 1)
        return {
            "mean": mean,
            "window": self._window,
            "seen": seen,
            "latest": [odd._asdict() for odd in self._latest[max(0, noted - LATEST) : noted]],
        }

    @classmethod
    def tell(cls, evidence: Mapping[str, Any]) -> str:
        """Compare the distances with honest ones, and describe the latest unusual one."""
        told = (
            f"its latest {min(evidence['seen'], evidence['window']):,} queries lie "
            f"{'farther from' if evidence['mean'] > 0 else 'nearer to'} earlier ones of the same "
            f"answer than honest ones do, by {abs(evidence['mean']):.2g} deviations in the mean"
        )
        if not evidence["latest"]:
            return told
        odd = evidence["latest"][-1]
        return (
            f"{told}; the latest that is unusual, query {odd['query']}, is {odd['distance']:.3g} "
            f"from query {odd['earlier']}"
        )

    def reset(self) -> None:
        """Forget all queries; log positions go on."""
        self._remembered.history.clear()
        self._seen, self._sum = 0, 0
        self._parts = deque(maxlen=self._window)
        self._latest, self._rows = [], []

    def drain(self) -> list[Segment]:
        """Hand out new inputs."""
        return self._remembered.history.drain()

    def header(self) -> bytes:
        """Encode options, positions, the window's deviations and the latest unusual queries."""
        positions = list(self._remembered.history.positions().values())
        parts = np.array(self._parts, "<i2").tobytes()
        return self._header.pack(positions, self._seen, parts, self._latest[-LATEST:])

    def horizon(self) -> dict[str, int]:
        """Say up to which position inputs are forgotten."""
        return self._remembered.history.horizon()

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore a fresh detector; raises `StateError` where header or segments do not fit."""
        with self._header.fields(header) as (positions, seen, packed, latest):
            positions = [Position(*each) for each in positions]
            parts = np.frombuffer(packed, "<i2").tolist()
            latest = [Odd(*each) for each in latest]
        self._remembered.history.load(positions, segments)
        self._seen, self._sum, self._latest = seen, sum(parts), latest
        self._parts = deque(parts, maxlen=self._window)

    def limit(self) -> int:
        """State the most bytes of state: live inputs, and the header."""
        return self._remembered.history.limit() + 4096
