"""Steps: how many of an account's queries were made from earlier ones by a step of one size?

Attacks that make queries from queries (FGSM and its many descendants: Papernot's augmentation, JB
top-k, PGD) move every value of an input by about as much, up or down: x + eps * sign(g). What
happens to inputs otherwise (noise, light, movement, compression, another camera) changes some
values much and most a little. So the shape of the difference to the nearest earlier query tells
them apart, at any distance: no threshold on a scale that depends on data or network is needed.

From no paper. Which limits tell them apart was chosen on MNIST, and tried on Fashion-MNIST,
CIFAR-10 and GTSRB (`docs/results/honest.md`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch, Detector, Floats, Segment
from gamekeeper.detectors.header import Header
from gamekeeper.detectors.vectors import (
    Bounds,
    FlatIndex,
    Ints,
    Near,
    Position,
    VectorHistory,
    closest,
    finite,
)
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.verdict import Kind

CODEC: Final = 1
WIDE: Final = 0.35
"""The share of values that a step changes at least: explainers and retouching change a region."""
MANY: Final = 100
"""Values that change, more than: of fewer, chance makes flat differences. Without this limit honest
accounts of 1,000 queries make up to 11 steps with 8x8 digits of 17 greys, 111 with 8 columns."""
TWO_SIDED: Final = 0.8
"""|sum| over the sum of absolutes, below which a step goes up here and down there, as light does
not."""
APART: Final = 50
"""Different queries between both at least: whoever makes queries from answers sends rounds, while
frames of a camera follow each other. Noise of one still scene is flat at times."""
COARSE: Final = 2.0
"""Quanta (of 256 grey values: one) that the changed values change by in the mean, at least: what is
rounded to one quantum is flat, whatever made it."""
BESIDE: Final = 0.05
"""By so much a step is flatter than differences to other queries, which are as flat as steps where
inputs have two values only."""
FREE: Final = 5.0
"""Steps in a window that anybody may make: of 680 honest accounts of 34 habits, on four sets of
images, two made more in 1,000 queries."""
LATEST: Final = 10
"""Steps that the evidence names."""
WINDOWS: Final = (100, 10_000)
"""The header that holds a bit for each query of a window stays below 4 KiB."""
MOST_QUERIES: Final = 256
"""Queries searched for at once."""


class Step(NamedTuple):
    """A query that was made from an earlier one.

    `changed` is the share of values that differ, `size` by how much in the mean, `flatness` how
    much alike these are: 1 where all change by as much.
    """

    query: int
    earlier: int
    changed: float
    size: float
    flatness: float


class Steps(Detector):
    """The number of steps among the latest `window` different queries, 0 upwards.

    A query is a step from its nearest earlier one (Euclidean) where the difference is wide, flat
    and two-sided, and coarser than the inputs' own values; see the module's text and constants.

    Its limits. Whoever makes queries by other means is not seen: augmentation, mixing, generators,
    noise, or steps that are scaled value by value. Nor who sends rounds of fewer than 50 queries,
    or keeps the originals to himself and makes one query of each. Inputs of 100 values or fewer, as
    most tables', have no steps.

    State is at most `history` inputs, and `megabytes`; the oldest are forgotten first. Those
    of whole numbers from 0 to 255 take a byte for each value, others four.

    100 honest queries, then a step from each:

    >>> rng = np.random.default_rng(0)
    >>> honest = rng.normal(size=(100, 144))
    >>> made = honest + 0.1 * rng.choice([-1, 1], size=(100, 144))
    >>> detector, labels = Steps(), np.zeros(100, int)
    >>> detector.update(Batch(0, honest, labels))[[0, 99]]
    array([0., 0.])
    >>> detector.update(Batch(100, made, labels))[[0, 5, 99]]
    array([  1.,   6., 100.])
    >>> step = detector.evidence(0)["latest"][0]
    >>> step["query"], step["earlier"], round(step["size"], 3), round(step["flatness"], 3)
    (100, 0, 0.1, 1.0)
    """

    name: ClassVar[str] = "steps"
    kind: ClassVar[Kind] = "theft"
    threshold = FREE
    least: ClassVar[float] = FREE
    _latest: list[Step]  # oldest first
    _rows: list[tuple[int, int, int]]  # steps, those noted, inputs remembered
    _hits: int  # a bit for each query of the window, whether it is a step; the latest is the lowest

    def __init__(
        self, *, flat: float = 0.9, window: int = 1000, history: int = 3000, megabytes: int = 16
    ) -> None:
        """Choose what is flat, and how much of the past counts; raises `ProfileError`.

        Args:
            flat: above which flatness a difference is a step, 0 to 1. Differences between honest
                inputs are at 0.72 to 0.8 in the median, and one in a thousand is above 0.87 to
                0.91 (four sets of images); signs of gradients are at 0.88 to 1.
            window: different queries, the latest, whose steps are counted.
            history: different queries, the latest, that are compared with, not fewer than `window`.
                Who sends rounds of a hundred as a twentieth of his traffic has his originals two
                thousand back.
            megabytes: the most that their inputs take.
        """
        if not 0 < flat < 1:
            raise ProfileError(f"steps.flat is {flat}: give a flatness between 0 and 1")
        if not WINDOWS[0] <= window <= WINDOWS[1]:
            raise ProfileError(f"steps.window is {window}; it is from {WINDOWS[0]} to {WINDOWS[1]}")
        if history < window:
            raise ProfileError(f"steps.history is {history}; it is at least the window, {window}")
        self._header = Header(self.name, CODEC, [float(flat), window, history, megabytes])
        self._flat, self._window, self.distinct = float(flat), window, history
        bounds = Bounds(history, megabytes, reserve=0, keep=1, secret=0)
        self._history = VectorHistory(bounds, narrow=True)
        self.reset()

    def update(self, batch: Batch) -> Floats:
        """Take `n` queries; return `(n,)` numbers of steps."""
        self._rows = []
        self._latest = self._latest[-LATEST:]
        vectors = finite(batch.inputs.reshape(len(batch), math.prod(batch.inputs.shape[1:])))
        for at in range(0, len(batch), MOST_QUERIES):
            part = slice(at, at + MOST_QUERIES)
            self._take(batch.queries[part], vectors[part])
        return np.array([steps for steps, *_ in self._rows], np.float64)

    def _take(self, queries: Ints, vectors: NDArray[np.float32]) -> None:
        """Add some inputs, then compare each with those before it."""
        index, recent, _ = self._history.add(queries, vectors)
        base = len(index) - len(queries)
        found = {each.row - base: each for each in index.nearest(len(queries))}
        for i, remembered in enumerate(recent):
            step = self._step(index, found[i]) if i in found else None
            self._latest += [step] if step else []
            self._hits = (self._hits << 1 | bool(step)) & ((1 << self._window) - 1)
            self._rows.append((self._hits.bit_count(), len(self._latest), remembered))
        self._history.settle()

    def _step(self, index: FlatIndex, near: Near) -> Step | None:
        distance, other = closest(index, near)
        if not distance or near.row - other < APART:
            return None
        made, earlier = (index.vector(row).astype(np.float64) for row in (near.row, other))
        step = made - earlier
        sizes = np.abs(step)
        changed = int(np.count_nonzero(sizes))
        total, flatness = sizes.sum(), _flatness(sizes)
        if changed <= max(MANY, WIDE * len(sizes)) or abs(step.sum()) >= TWO_SIDED * total:
            return None
        if flatness <= self._flat or total < COARSE * changed * _quantum(made, earlier):
            return None
        live = index.live(near.row)
        beside = (live[at] for at in (0, len(live) // 2, -1))
        if flatness <= BESIDE + min(
            (_flatness(np.abs(made - index.vector(row))) for row in beside if row != other),
            default=1.0,
        ):
            return None
        query, nearest = index.query(near.row), index.query(other)
        return Step(query, nearest, changed / len(sizes), float(total / changed), flatness)

    def evidence(self, row: int) -> dict[str, Any]:
        """Name the latest steps as of `row`, the latest last, and among how many they were."""
        steps, noted, remembered = self._rows[row]
        return {
            "steps": steps,
            "window": self._window,
            "flat": self._flat,
            "remembered": remembered,
            "latest": [step._asdict() for step in self._latest[max(0, noted - LATEST) : noted]],
        }

    @classmethod
    def tell(cls, evidence: Mapping[str, Any]) -> str:
        """Count the steps, and describe the latest."""
        told = (
            f"{evidence['steps']:,} of its latest {evidence['window']:,} queries are made from "
            "earlier ones by steps of one size"
        )
        if not evidence["latest"]:
            return told
        step = evidence["latest"][-1]
        return (
            f"{told}; the latest, query {step['query']}, changes {step['changed']:.0%} of query "
            f"{step['earlier']} by {step['size']:.3g}"
        )

    def reset(self) -> None:
        """Forget all queries; log positions go on."""
        self._history.clear()
        self._hits = 0
        self._latest, self._rows = [], []

    def drain(self) -> list[Segment]:
        """Hand out new inputs."""
        return self._history.drain()

    def header(self) -> bytes:
        """Encode options, positions, the window and the latest steps."""
        positions = list(self._history.positions().values())
        hits = self._hits.to_bytes((self._window + 7) // 8, "little")
        return self._header.pack(positions, hits, self._latest[-LATEST:])

    def horizon(self) -> dict[str, int]:
        """Say up to which position inputs are forgotten."""
        return self._history.horizon()

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore a fresh detector; raises `StateError` where header or segments do not fit."""
        with self._header.fields(header) as (positions, bits, latest):
            positions = [Position(*each) for each in positions]
            hits = int.from_bytes(bits, "little")
            latest = [Step(*each) for each in latest]
        self._history.load(positions, segments)
        self._hits, self._latest = hits, latest

    def limit(self) -> int:
        """State the most bytes of state: live inputs, and the header."""
        return self._history.limit() + 4096


def _flatness(sizes: Floats) -> float:
    """Compare sizes of changes: 1 where all that are above 0 are equal, 1 / sqrt(k) at least.

    L1 / (L2 sqrt(k)), k of them: sqrt(2 / pi), 0.80, for values of a normal distribution.
    """
    changed = sizes[sizes > 0]
    if not len(changed):
        return 1.0
    scaled = changed / changed.max()
    return float(scaled.sum() / np.sqrt(np.square(scaled).sum() * len(scaled)))


def _quantum(*rows: Floats) -> float:
    """Give the least difference between two values of some rows: images' are rounded to it."""
    return float(np.diff(np.unique(np.concatenate(rows))).min(initial=np.inf))
