"""Likelihood: are an account's queries less likely, on average, than benign ones?

Zhang and Wagner, section VI-B: a model of benign inputs says how likely a query is; crafted queries
are less likely than natural ones. The detector follows the mean m and the sample standard deviation
s of an account's log-likelihoods and alarms when the upper bound m + beta * s is below what benign
users have on average. With a `window` the older ones weigh ever less: a mean over a whole life
forgets nothing, so that a long honest past hides what comes after it. Which model, and how its
log-likelihoods are scaled, is the featurizer's.

Log-likelihoods come from `Batch.features["log_likelihood"]`. A query without one leaves the
statistic as it was.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import LIKELIHOOD, Batch, Detector, Fitted, Floats, Segment
from gamekeeper.detectors.header import Header
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.verdict import Kind

TAILS = ("lower", "both")
CODEC = 1
LEAST = 5
"""Queries that the evidence names."""
LEAST_WINDOW = 100
"""With fewer queries the mean is as noisy as at `warm_up`, for ever."""

_FLOAT32 = float(np.finfo(np.float32).max)


class _Moments(NamedTuple):
    """What is known of the log-likelihoods so far.

    `seen` counts them, `squares` is the sum of squared deviations from the mean, `least` has the
    least likely queries as `(log-likelihood, query)`, the least first, of equals the oldest. With a
    window that is those of its current half, and `before` has those of the half before it.
    """

    seen: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: tuple[tuple[float, int], ...] = ()
    before: tuple[tuple[float, int], ...] = ()

    def named(self) -> tuple[tuple[float, int], ...]:
        """Give the least likely queries of both halves."""
        return tuple(sorted(self.least + self.before)[:LEAST])

    def std(self, window: int = 0) -> float:
        """Give the sample standard deviation, 0 for fewer than two."""
        count = min(self.seen, _counted(window))
        return math.sqrt(self.squares / (count - 1)) if count > 1 else 0.0

    def add(self, value: float, query: int, window: int) -> _Moments:
        """Take one more, by Welford's update: no cancellation, and one after another.

        With a window all that came before weigh less with each one more, once it is half full.
        """
        seen, most = self.seen + 1, _counted(window)
        share = 1 / min(seen, most)
        squares, least, before = self.squares, self.least, self.before
        if seen > most:
            squares *= 1 - share
        if window and self.seen % (window // 2) == 0:
            least, before = (), least
        mean = self.mean + (value - self.mean) / min(seen, most)
        squares += (value - self.mean) * (value - mean)
        if len(least) < LEAST or value < least[-1][0]:
            ranked = list(least)
            bisect.insort(ranked, (value, query))
            least = tuple(ranked[:LEAST])
        return _Moments(seen, mean, squares, least, before)


def _counted(window: int) -> float:
    """Say how many values weigh as much as one: half a window, as weights fall exponentially.

    The mean of an exponential window that gives each new value 1 / k varies as that of 2 k - 1
    values (Roberts, Control Chart Tests Based on Geometric Moving Averages, 1959).
    """
    return (window + 1) // 2 if window else math.inf


def _mean(features: NDArray[np.float32]) -> Floats:
    """Average one account's log-likelihoods, `(1,)`."""
    return np.array([np.mean(features, dtype=np.float64)])


def _center(means: Sequence[NDArray[Any]]) -> float:
    """Average the accounts' mean log-likelihoods."""
    known = [each for each in means if len(each)]
    if not known:
        raise ProfileError(
            "likelihood takes --networks with a density for inputs like those of the traces: "
            "`gamekeeper train --only log_likelihood` makes one, of images and of vectors"
        )
    return float(np.mean(known))


class Likelihood(Detector):
    """How far an account's log-likelihoods lie from benign ones; NaN before `warm_up` of them.

    With `center` the benign mean, m and s as above, in units of the log-likelihood:

    * `lower`, the paper's rule: center - (m + beta * s). The paper alarms when m + beta * s is
      below alpha, that is when this is above center - alpha; so alpha is in the threshold.
    * `both`: |center - m| - beta * s, the larger of the lower tail's statistic and its mirror image
      for the upper tail, center outside m +- beta * s. The paper discusses this form and leaves it
      out, as natural seeds can be likelier than benign traffic. It sees attackers whose queries are
      too plain: a constant image is reconstructed all too well.

    Its limits. Above beta = 0 an attacker can hide behind his own spread: one query of absurdly
    low likelihood widens s by more than it lowers m, for a long time to come. At any beta he can
    balance crafted queries with ones likelier than benign, and without a `window` m is over the
    whole life, so that a long honest use weighs against what follows. And what the model was not
    trained on is unlikely, benign or not (section VIII-B: 1.2 to 1.5 % alarms per query on benign
    images of other sets).

    State is a few numbers, below 1 KiB; without a `window` nothing is forgotten.

    100 honest queries of log-likelihood -1 or so, then 100 of -2:

    >>> rng = np.random.default_rng(0)
    >>> told = np.concatenate([rng.normal(-1, 0.1, 100), rng.normal(-2, 0.1, 100)])
    >>> features = {"log_likelihood": told.reshape(200, 1).astype(np.float32)}
    >>> detector = Likelihood(center=-1.0)
    >>> batch = Batch(0, np.zeros((200, 1)), np.zeros(200, int), features=features)
    >>> detector.update(batch)[[48, 99, 149, 199]].round(2)
    array([  nan, -0.01,  0.33,  0.5 ])
    >>> [each["query"] for each in detector.evidence(199)["least_likely"]]
    [159, 138, 108, 190, 178]
    """

    name: ClassVar[str] = "likelihood"
    kind: ClassVar[Kind] = "other data"
    feature: ClassVar[str] = LIKELIHOOD
    fitted: ClassVar[Fitted | None] = Fitted("center", 0.0, _mean, _center)
    threshold = math.nan
    """None suits all: log-likelihoods are scaled by their model. The profile has to name one."""
    steady: ClassVar[Mapping[str, Any]] = {"window": 1000}
    _moments: _Moments
    _rows: list[_Moments]  # after each query of the last batch

    def __init__(
        self,
        *,
        tails: str = "lower",
        beta: float = 0.0,
        center: float = math.nan,
        warm_up: int = 50,
        window: int = 0,
    ) -> None:
        """Choose the tails, and what is compared with what.

        Raises `ProfileError`.

        Args:
            tails: `lower`, the paper's rule; `both`: also a mean too far above `center`, which sees
                queries that are too plain.
            beta: standard deviations of the account's log-likelihoods by which their mean has to
                be further away; with 0 there is no interval.
            center: benign queries' mean log-likelihood; calibration with networks chooses it. One
                not given is 0 for the lower tail, where it only shifts the threshold, and refused
                for both.
            warm_up: log-likelihoods before the first statistic (section VIII-B: 50).
            window: queries over which the mean is taken, with weights that fall exponentially, at
                least 100; repeats are left out. 0: all alike, repeats among them, as in the paper.
        """
        if tails not in TAILS:
            raise ProfileError(f"likelihood.tails is {tails!r}; there are: {', '.join(TAILS)}")
        if not 0 <= beta <= _FLOAT32:
            raise ProfileError(f"likelihood.beta is {beta}: give a number of standard deviations")
        if math.isnan(center) and tails == "both":
            raise ProfileError(
                "likelihood.tails is 'both', so likelihood.center has to be given: the mean "
                "log-likelihood of benign queries"
            )
        if abs(center) > _FLOAT32:
            raise ProfileError(f"likelihood.center is {center}: give a log-likelihood")
        if warm_up < 2:
            raise ProfileError(f"likelihood.warm_up is {warm_up}: a deviation needs 2 queries")
        if window and not LEAST_WINDOW <= window < 2**31:
            raise ProfileError(f"likelihood.window is {window}: give 0, or {LEAST_WINDOW} or more")
        self._tails, self._beta, self._warm_up = tails, float(beta), warm_up
        self._center = 0.0 if math.isnan(center) else float(center)
        self._window = self.distinct = window
        # What is written without a window is what builds wrote that knew of none.
        options = [tails, self._beta, self._center, warm_up] + ([window] if window else [])
        self._header = Header(self.name, CODEC, options)
        self.reset()

    def update(self, batch: Batch) -> Floats:
        """Take `n` queries; return `(n,)` distances from benign, NaN before `warm_up`."""
        values = batch.features.get(LIKELIHOOD)
        if values is None or not values[:1].size:
            self._rows = [self._moments] * len(batch)
        else:
            self._rows = []
            told = _finite(values[:, 0]).tolist()
            for query, value in zip(batch.queries.tolist(), told, strict=True):
                self._moments = self._moments.add(value, query, self._window)
                self._rows.append(self._moments)
        return np.array([self._statistic(row) for row in self._rows], np.float64)

    def _statistic(self, moments: _Moments) -> float:
        if moments.seen < self._warm_up:
            return math.nan
        below = self._center - moments.mean
        distance = below if self._tails == "lower" else abs(below)
        return distance - self._beta * moments.std(self._window)

    def evidence(self, row: int) -> dict[str, Any]:
        """Give the moments as of `row`, and name the least likely queries, the least first."""
        moments = self._rows[row]
        return {
            "tails": self._tails,
            "center": self._center,
            "beta": self._beta,
            "mean": moments.mean,
            "std": moments.std(self._window),
            "count": moments.seen,
            "least_likely": [
                {"query": query, "log_likelihood": value} for value, query in moments.named()
            ],
            **({"window": self._window} if self._window else {}),
        }

    @classmethod
    def tell(cls, evidence: Mapping[str, Any]) -> str:
        """Compare the mean with honest ones', and name the least likely query."""
        told = (
            f"its queries are unlike honest ones to a model of these: their log-likelihood is "
            f"{evidence['mean']:.3g} in the mean of {evidence['count']:,}, honest ones' "
            f"{evidence['center']:.3g}"
        )
        if not evidence["least_likely"]:
            return told
        return f"{told}; the least likely is query {evidence['least_likely'][0]['query']}"

    def reset(self) -> None:
        """Forget all queries."""
        self._moments = _Moments()
        self._rows = []

    def header(self) -> bytes:
        """Encode options and moments."""
        *fields, before = self._moments
        return self._header.pack(*fields, *([before] if self._window else []))

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore a fresh detector; raises `StateError` where the header does not fit."""
        with self._header.fields(header) as (seen, mean, squares, *named):
            least, *before = (tuple((value, query) for value, query in part) for part in named)
            moments = _Moments(seen, mean, squares, least, *before)
        self._moments = moments


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring infinite values back into float32; the test alone is five times as fast."""
    if np.isfinite(values).all():
        return values
    return np.nan_to_num(values, posinf=_FLOAT32, neginf=-_FLOAT32)
