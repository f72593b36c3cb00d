"""Out-of-distribution: how many of an account's queries are unlike the model's own data?

Atli et al., "Extraction of Complex DNN Models: Real Threat or Boogeyman?": who steals with natural
images (Knockoff, CopyCat, ActiveThief) sends other images than the model is for. Their abstract has
no more than that queries "used for Knockoff nets" are told from benign ones; the share per account,
and how it is followed, are chosen here. Which score tells them, is the featurizer's.

Scores come from `Batch.features["ood"]`, higher for what is further out of distribution. A query
without one leaves the statistic as it was.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import OOD, Batch, Detector, Fitted, Floats, Segment
from gamekeeper.detectors.header import Header
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.verdict import Kind

CODEC = 1
PASSING = 0.95
"""The share of benign queries that are not out of distribution."""
LEAST = 5
"""Queries that the evidence names."""
DEVIATIONS = 3.0
"""Standard deviations from the share to its lower bound: chance alone exceeds it once in 740."""
WINDOWS = (50, 10_000)
"""The least and the most scores in a window: the header that holds their bits stays small."""

_FLOAT32 = float(np.finfo(np.float32).max)

Named = tuple[tuple[float, int], ...]
"""The least in-distribution queries as `(-score, query)`, the least first, then the oldest."""


class _Window(NamedTuple):
    """What is known of the latest scores.

    `seen` counts all scores, `above` has a bit for each of the window's: whether it is above the
    cut, the latest in the lowest. Least in-distribution queries are kept of the current half window
    (`least`) and of the one before: those of the last half to whole window, so that none is stale.
    """

    seen: int = 0
    above: int = 0
    least: Named = ()
    before: Named = ()

    def add(self, score: float, query: int, cut: float, size: int) -> _Window:
        """Take one more score, with a window of `size`."""
        above = (self.above << 1 | (score > cut)) & ((1 << size) - 1)
        least, before = self.least, self.before
        if self.seen % (size // 2) == 0:
            least, before = (), least
        if len(least) < LEAST or -score < least[-1][0]:
            ranked = list(least)
            bisect.insort(ranked, (-score, query))
            least = tuple(ranked[:LEAST])
        return _Window(self.seen + 1, above, least, before)

    def named(self) -> Named:
        """Give the least in-distribution queries of both halves."""
        return tuple(sorted(self.least + self.before)[:LEAST])


def _scores(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep one account's scores, `(n,)`."""
    scores: NDArray[np.float32] = features[:, 0]
    return scores


def _cut(scores: Sequence[NDArray[Any]]) -> float:
    """Choose the score that 95 % of all benign queries do not exceed.

    That is where such scores are usually compared (by the outliers that pass where 95 % of the own
    inputs do), and an attack with other images has a share of nearly 1 to be told by.
    """
    known = np.concatenate([*scores, np.empty(0)]).astype(np.float64)
    if not len(known):
        raise ProfileError("ood takes --networks with an ood network for inputs like the traces'")
    return float(np.quantile(known, PASSING))


class OutOfDistribution(Detector):
    """A lower bound of the share of out-of-distribution queries; NaN before `warm_up` scores.

    A query is out of distribution where its score is above `cut`. Of the last `window` scores, the
    statistic is Wilson's lower bound, 3 standard deviations down, for the probability that one is:
    0 to 1, whatever the scores' scale.

    * A window, because of an account that turns from honest to stealing: in a share over the whole
      life, each honest query of the past makes up for a stolen one; here they are forgotten, and
      the same few dozen are enough after 1,000 honest queries as after 100,000.
    * A bound, because the share of 50 queries is four times as noisy as that of 1,000, and an alarm
      is for the highest value of a life: a threshold above the noise of the first queries would let
      a thief who dilutes go on for ever.

    Repeats are left out, a health check with a picture of its own among them.

    Its limits. All that is unlike the model's own data counts as stealing (to which Zhang and
    Wagner, section V-B, object): honest accounts with other data alarm, too. Who steals with the
    model's own kind of data, or dilutes more than the threshold allows, is not seen.

    State is `window` bits and a few numbers, below 2 KiB; the oldest scores are forgotten first.

    500 honest queries, of which one in twenty is above the cut, then images of another kind:

    >>> rng = np.random.default_rng(0)
    >>> scores = np.concatenate([rng.normal(0, 1, 500), rng.normal(4, 1, 200)])
    >>> features = {"ood": scores.reshape(700, 1).astype(np.float32)}
    >>> detector = OutOfDistribution(cut=1.64, window=100)
    >>> batch = Batch(0, np.zeros((700, 1)), np.zeros(700, int), features=features)
    >>> detector.update(batch)[[48, 499, 549, 599]].round(2)
    array([ nan, 0.01, 0.37, 0.92])
    >>> detector.evidence(549)["share"]
    0.51
    """

    name: ClassVar[str] = "ood"
    kind: ClassVar[Kind] = "other data"
    feature: ClassVar[str] = OOD
    fitted: ClassVar[Fitted | None] = Fitted("cut", 0.0, _scores, _cut)
    threshold = 0.5
    """Half of the queries, surely: for use without calibration."""
    _window: _Window
    _rows: list[_Window]  # after each query of the last batch

    def __init__(self, *, cut: float = math.nan, window: int = 1000, warm_up: int = 50) -> None:
        """Choose what is out of distribution, and how much of the past counts.

        Raises `ProfileError`; above all where no `cut` is given.

        Args:
            cut: the score above which a query is out of distribution. It has to be given, and
                calibration chooses it: scores scale with the network, so that none is right for
                all.
            window: scores that count, the latest.
            warm_up: scores before the first statistic.
        """
        if not abs(cut) <= _FLOAT32:
            raise ProfileError(
                f"ood.cut is {cut}: give the score above which a query is out of distribution; "
                "`gamekeeper calibrate` chooses one"
            )
        if not WINDOWS[0] <= window <= WINDOWS[1]:
            raise ProfileError(f"ood.window is {window}; it is from {WINDOWS[0]} to {WINDOWS[1]}")
        if warm_up < 1:
            raise ProfileError(f"ood.warm_up is {warm_up}: a share takes 1 query")
        self._cut, self._size, self._warm_up = float(cut), window, warm_up
        self.distinct = window
        self._header = Header(self.name, CODEC, [self._cut, window, warm_up])
        self.reset()

    def update(self, batch: Batch) -> Floats:
        """Take `n` queries; return `(n,)` bounds of the share, NaN before `warm_up`."""
        scores = batch.features.get(OOD)
        if scores is None or not scores[:1].size:
            self._rows = [self._window] * len(batch)
        else:
            finite = np.nan_to_num(scores[:, 0], posinf=_FLOAT32, neginf=-_FLOAT32)
            self._rows = []
            for query, score in zip(batch.queries.tolist(), finite.tolist(), strict=True):
                self._window = self._window.add(score, query, self._cut, self._size)
                self._rows.append(self._window)
        return np.array([self._statistic(row) for row in self._rows], np.float64)

    def _statistic(self, window: _Window) -> float:
        if window.seen < self._warm_up:
            return math.nan
        return lower_bound(window.above.bit_count(), min(window.seen, self._size))

    def evidence(self, row: int) -> dict[str, Any]:
        """Give the share as of `row`, and name the least in-distribution queries, these first."""
        window = self._rows[row]
        count = min(window.seen, self._size)
        above = window.above.bit_count()
        return {
            "cut": self._cut,
            "share": above / count if count else None,
            "out_of_distribution": above,
            "count": count,
            "seen": window.seen,
            "least_in_distribution": [
                {"query": query, "score": -minus} for minus, query in window.named()
            ],
        }

    @classmethod
    def tell(cls, evidence: Mapping[str, Any]) -> str:
        """Give the share, and name the query that is farthest out."""
        told = (
            f"{evidence['out_of_distribution']:,} of its latest {evidence['count']:,} queries are "
            "unlike the model's own data"
        )
        if not evidence["least_in_distribution"]:
            return told
        return f"{told}, query {evidence['least_in_distribution'][0]['query']} most of all"

    def reset(self) -> None:
        """Forget all queries."""
        self._window = _Window()
        self._rows = []

    def header(self) -> bytes:
        """Encode options and window."""
        seen, above, least, before = self._window
        bits = above.to_bytes((self._size + 7) // 8, "little")
        return self._header.pack(seen, bits, least, before)

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore a fresh detector; raises `StateError` where the header does not fit."""
        with self._header.fields(header) as (seen, bits, *named):
            least, before = (tuple((minus, query) for minus, query in part) for part in named)
            window = _Window(seen, int.from_bytes(bits, "little"), least, before)
        self._window = window

    def limit(self) -> int:
        """State the most bytes of state: the header."""
        return 512 + self._size // 8


def lower_bound(hits: int, n: int) -> float:
    """Give Wilson's lower bound for the probability of a hit, `n` trials above 0 having had `hits`.

    >>> lower_bound(0, 50), round(lower_bound(10, 100), 3), round(lower_bound(100, 1000), 3)
    (0.0, 0.041, 0.075)
    """
    z, share = DEVIATIONS, hits / n
    middle = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - reach) / (1 + z * z / n))
