"""Similarity: how many of an account's queries look like earlier ones of the same account?

Zhang and Wagner, section VI-A: an encoder f maps a query to a feature vector, and two queries are
a similar pair where |f(q_i) - f(q_j)| < delta (Euclidean). Attacks that move seeds in small steps
make many such pairs, natural queries few. The statistic is the number of pairs so far, or with a
`window` that of its latest queries: a number that only grows is one that everybody reaches.

Vectors come from `Batch.features["embedding"]`. A query without one is no part of any pair: the
statistic stays as it was, NaN before the first vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import EMBEDDING, Batch, Detector, Fitted, Floats, Segment
from gamekeeper.detectors.header import Header
from gamekeeper.detectors.vectors import (
    LARGEST_BLOCK,
    SLACK,
    Bounds,
    FlatIndex,
    Ints,
    Near,
    Position,
    VectorHistory,
    closest,
    distance_of_pairs,
    finite,
    nearest_earlier,
)
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.verdict import Kind

RULES = ("nearest", "all")
THRESHOLD = 49.5
"""Section VIII-A: an account is terminated at 50 similar pairs, and an alarm is strictly above."""
CODEC = 2
LATEST = 10
"""Pairs that the evidence names."""
LARGEST_WINDOW = 10_000
"""The header that holds a bit for each query stays below 4 KiB."""
MOST_QUERIES = 256
MOST_FOUND = 2**21
"""Queries searched for at once, and what they can find at most: an account that repeats one query
finds all others each time."""


class Pair(NamedTuple):
    """A query, an earlier one that is similar, and how far it is."""

    query: int
    earlier: int
    distance: float


class Similarity(Detector):
    """The number of similar pairs so far, 0 upwards; NaN until there is a vector.

    `nearest` counts at most one pair per query, with its nearest earlier query (of several, the
    oldest); `all` counts every pair. Repeats are pairs too, at distance 0.

    Bounded: recent vectors are all kept, older ones ever thinner (`vector_history`); pairs that
    were counted stay counted. In an account's first `history` queries nothing is forgotten.

    What it costs an attacker to let so many queries pass between two variants of a seed: the
    earlier one is then in reserve l with probability keep**-l, so each crafted query pairs with
    that probability, and 50 pairs come after about 50 * keep**l of them. With the defaults
    (edges vary by reserve**-0.5, 5 %):

        queries between    chance of a pair    crafted queries until 50 pairs
        up to  10,000      1                        50
        up to  11,600      1/4                     200
        up to  18,000      1/16                    800
        up to  43,600      1/64                  3,200
        up to 146,000      1/256                12,800
        more               0                     never

    So whoever waits has to send at least three queries for each crafted one that he may add. To
    make no pair he spreads variants over more than history + reserve * (keep + ... + keep**4)
    queries, with seeds or with fillers. Measured in `tests/bench/bench_forgetting.py`.

    Who knows `secret` can tell which queries are thinned out. A profile's accounts share it: one
    that is a pair short of its alarm learns from the alarm an index that is kept, and is lost.

    100 embeddings that have nothing to do with each other, then one step from each:

    >>> rng = np.random.default_rng(0)
    >>> honest = rng.normal(size=(100, 8)).astype(np.float32)
    >>> inputs, labels = np.zeros((100, 1)), np.zeros(100, int)
    >>> detector = Similarity(delta=0.2)
    >>> detector.update(Batch(0, inputs, labels, features={"embedding": honest}))[[0, 99]]
    array([0., 0.])
    >>> made = honest + np.float32(0.05)
    >>> detector.update(Batch(100, inputs, labels, features={"embedding": made}))[[0, 49, 99]]
    array([  1.,  50., 100.])
    >>> pair = detector.evidence(0)["latest"][0]
    >>> pair["query"], pair["earlier"], round(pair["distance"], 2)
    (100, 0, 0.14)
    """

    name: ClassVar[str] = "similarity"
    kind: ClassVar[Kind] = "variants"
    feature: ClassVar[str] = EMBEDDING
    fitted: ClassVar[Fitted | None] = Fitted("delta", 1.0, nearest_earlier, distance_of_pairs)
    steady: ClassVar[Mapping[str, Any]] = {"window": 1000, "history": 1000, "reserve": 0}
    _latest: list[Pair]  # oldest first
    _rows: list[tuple[int, int, int, int]]  # pairs, those noted, vectors recent and older
    _hits: (
        int  # with a window: a bit for each of its queries, whether it made a pair; latest lowest
    )

    def __init__(
        self,
        *,
        pairs: str = "nearest",
        delta: float = 0.0,
        window: int = 0,
        history: int = 10_000,
        megabytes: int = 64,
        reserve: int = 400,
        keep: int = 4,
        secret: int = 0,
    ) -> None:
        """Choose the rule and the bounds of the state, and say what is similar.

        Raises `ProfileError`; above all where no `delta` is given.

        Args:
            pairs: `nearest`: at most one pair per query, with its nearest earlier query; `all`:
                every pair.
            delta: the distance below which two embeddings are similar. It has to be given, and
                calibration with networks chooses it: distances scale with the encoder, so that
                none is right for all (the paper's 0.13 belongs to its own).
            window: queries, the latest, whose pairs are counted, up to 10,000; repeats are left
                out. 0: all, repeats among them, as in the paper.
            history: vectors kept of an account, the latest; the default is the life that promises
                are made for.
            megabytes: the most that the vectors take.
            reserve: older vectors thinned out: four reserves of as many each; 0: none.
            keep: each reserve holds one in so many of those that leave the one before.
            secret: decides which ones are kept, below 2**64; calibration draws one, the default is
                public. Whoever knows it knows what is forgotten, so keep the profile to yourself:
                what is printed has a fingerprint, and `--set` does not take it.
        """
        if pairs not in RULES:
            raise ProfileError(f"similarity.pairs is {pairs!r}; there are: {', '.join(RULES)}")
        if delta == 0:
            raise ProfileError(
                "similarity.delta is not set: it depends on the encoder; `gamekeeper calibrate "
                "--networks FOLDER` chooses it, or give --set similarity.delta=..."
            )
        if not 0 < delta < math.inf:
            raise ProfileError(
                f"similarity.delta is {delta}: give the distance, above 0, below which two "
                "embeddings are similar"
            )
        if window and not (0 < window <= LARGEST_WINDOW and pairs == "nearest"):
            raise ProfileError(
                f"similarity.window is {window}, with pairs {pairs!r}; it is 0, or up to "
                f"{LARGEST_WINDOW} with pairs 'nearest'"
            )
        self.threshold = THRESHOLD
        bounds = Bounds(history, megabytes, reserve, keep, secret)
        # What is written without a window is what builds wrote that knew of none.
        options = [pairs, float(delta), *bounds.shown] + ([window] if window else [])
        self._header = Header(self.name, CODEC, options)
        self._window = window
        self.distinct = history if window else 0
        self._rule = pairs
        self._count = _nearest if pairs == "nearest" else _all
        self._delta = float(delta)
        self._history = VectorHistory(bounds)
        self.reset()

    def update(self, batch: Batch) -> Floats:
        """Take `n` queries; return `(n,)` numbers of pairs, NaN before the first vector."""
        self._rows = []
        self._latest = self._latest[-LATEST:]
        vectors = batch.features.get(EMBEDDING)
        if vectors is None or not vectors[:1].size:
            sizes = self._history.sizes()
            self._rows += [(self._pairs, len(self._latest), *sizes)] * len(batch)
            return np.full(len(batch), self._statistic())
        vectors = finite(vectors.reshape(len(batch), -1))
        at = 0
        while at < len(batch):
            room = self._history.room(vectors.shape[1])
            size = max(1, min(MOST_QUERIES, MOST_FOUND // (room + MOST_QUERIES)))
            part = slice(at, at + size)
            self._take(batch.queries[part], vectors[part])
            at += size
        return np.array([pairs for pairs, *_ in self._rows], np.float64)

    def _take(self, queries: Ints, vectors: NDArray[np.float32]) -> None:
        """Add some vectors, then compare each with those before it."""
        index, recent, older = self._history.add(queries, vectors)
        base = len(index) - len(queries)
        found = {each.row - base: each for each in index.near(len(queries), self._delta)}
        for i, sizes in enumerate(zip(recent, older, strict=True)):
            count, pairs = self._count(index, found[i], self._delta) if i in found else (0, [])
            self._latest += pairs
            if self._window:
                self._hits = (self._hits << 1 | count) & ((1 << self._window) - 1)
                self._pairs = self._hits.bit_count()
            else:
                self._pairs += count
            self._rows.append((self._pairs, len(self._latest), *sizes))
        self._history.settle()

    def _statistic(self) -> float:
        return float(self._pairs) if self._history.ever > self._began else math.nan

    def evidence(self, row: int) -> dict[str, Any]:
        """Name the latest pairs as of `row`, the latest last, and what they were found among."""
        pairs, noted, recent, older = self._rows[row]
        return {
            "rule": self._rule,
            "delta": self._delta,
            "pairs": pairs,
            **({"window": self._window} if self._window else {}),
            "remembered": recent,
            "reserve": older,
            "latest": [pair._asdict() for pair in self._latest[max(0, noted - LATEST) : noted]],
        }

    @classmethod
    def tell(cls, evidence: Mapping[str, Any]) -> str:
        """Count the pairs, and name the latest."""
        among = f" among its latest {evidence['window']:,} queries" if "window" in evidence else ""
        told = f"{evidence['pairs']:,} pairs{among} are nearer than two honest queries mostly are"
        if not evidence["latest"]:
            return told
        pair = evidence["latest"][-1]
        return (
            f"{told}; the latest is query {pair['query']} to {pair['earlier']}, at "
            f"{pair['distance']:.3g} where {evidence['delta']:.3g} is near"
        )

    def reset(self) -> None:
        """Forget all queries and pairs; log positions go on."""
        self._history.clear()
        self._began = self._history.ever
        self._pairs = self._hits = 0
        self._latest = []
        self._rows = []

    def drain(self) -> list[Segment]:
        """Hand out new vectors."""
        return self._history.drain()

    def header(self) -> bytes:
        """Encode options, positions, the number of pairs, the latest of them and the window."""
        positions = list(self._history.positions().values())
        fields = [positions, self._began, self._pairs, self._latest[-LATEST:]]
        if self._window:
            fields.append(self._hits.to_bytes((self._window + 7) // 8, "little"))
        return self._header.pack(*fields)

    def horizon(self) -> dict[str, int]:
        """Say up to which position each memory is forgotten."""
        return self._history.horizon()

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore a fresh detector; raises `StateError` where header or segments do not fit."""
        with self._header.fields(header) as (positions, began, pairs, latest, *hits):
            self._hits = int.from_bytes(hits[0], "little") if hits else 0
            logs = self._history.positions()
            positions = [Position(*each) for _, each in zip(logs, positions, strict=True)]
            latest = [Pair(*pair) for pair in latest]
        self._history.load(positions, segments)
        self._began, self._pairs, self._latest = began, pairs, latest

    def limit(self) -> int:
        """State the most bytes of state: live vectors, and the header."""
        return self._history.limit() + 4096


def _nearest(index: FlatIndex, near: Near, delta: float) -> tuple[int, list[Pair]]:
    """Count the pair with the nearest earlier vector, if it is one."""
    least, nearest = closest(index, near)
    if least >= delta:
        return 0, []
    return 1, [Pair(index.query(near.row), index.query(nearest), least)]


def _all(index: FlatIndex, near: Near, delta: float) -> tuple[int, list[Pair]]:
    """Count all pairs of a query; name those with its latest predecessors."""
    similar = near.upper < delta * delta * (1 - SLACK)
    open_ = np.flatnonzero(~similar)
    for at in range(0, len(open_), LARGEST_BLOCK):
        part = open_[at : at + LARGEST_BLOCK]
        similar[part] = index.measure(near.row, near.others[part]) < delta
    pairs = near.others[similar]
    latest = pairs[-LATEST:]
    distances = index.measure(near.row, latest).tolist()
    query = index.query(near.row)
    return len(pairs), [
        Pair(query, index.query(other), distance)
        for other, distance in zip(latest.tolist(), distances, strict=True)
    ]
