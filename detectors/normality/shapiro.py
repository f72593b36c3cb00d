"""The Shapiro-Wilk statistic of a sample that is kept sorted, query after query.

W is Royston's (Remark AS R94, Applied Statistics 44, 1995), as `scipy.stats.shapiro` computes it,
for complete samples. Its coefficients depend on the sample's size only; they are cached for the
whole process. The coefficients are antisymmetric, so W is a dot product of half of them with the
differences between opposite order statistics: exact differences, whatever the sample's offset.
Royston states the approximation for sizes up to 5,000; it is smooth beyond.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CACHE_BYTES = 64 * 2**20
"""Bound of the coefficients kept for the process; what does not fit is computed anew."""
LARGEST_SAMPLE = 10_000
"""Twice the size up to which Royston checked his approximation."""
WELL_CONDITIONED = 1e-3
"""Sums of squares are shifted first where the deviations are a smaller share of them."""

# Royston's polynomials in 1/sqrt(n) for the two outermost coefficients, highest power first.
_OUTERMOST = (-2.706056, 4.434685, -2.071190, -0.147981, 0.221157, 0.0)
_SECOND = (-3.582633, 5.682633, -1.752461, -0.293762, 0.042981, 0.0)
# Mean and log standard deviation of log(1 - W) under normality, in log(n), sizes from 12.
_MEAN = (0.0038915, -0.083751, -0.31082, -1.5861)
_LOG_STD = (0.0030302, -0.082676, -0.4803)
# AS 111 (Beasley and Springer): the normal quantile that AS R94 is stated with.
_CENTRE = (-25.44106049637, 41.39119773534, -18.61500062529, 2.50662823884)
_CENTRE_BELOW = (3.13082909833, -21.06224101826, 23.08336743743, -8.47351093090, 1.0)
_TAIL = (2.32121276858, 4.85014127135, -2.29796479134, -2.78718931138)
_TAIL_BELOW = (1.63706781897, 3.54388924762, 1.0)
_CENTRE_ENDS = 0.42
SERIES_FROM = 300
SERIES_STEP = 0.01
"""Sizes within 1 % share one expansion of five terms: its error is below 1e-11."""


class Coefficients(NamedTuple):
    """What W needs for one sample size."""

    half: Floats
    """`(n // 2,)`, outermost first; the other half is its mirror image with the sign turned."""
    length: float
    """Euclidean norm of all n coefficients; Royston's differ from 1 by his rounding only."""
    log_mean: float
    """Mean of log(1 - W) for normal samples of this size."""
    log_std: float
    """Standard deviation of log(1 - W) for normal samples of this size."""


class Result(NamedTuple):
    """What a sample says after its outliers are left out."""

    w: float
    """Shapiro-Wilk statistic of what is kept, 0 to 1; 1 where all kept values are equal."""
    kept: int
    """Number of values kept."""
    mean: float
    """Mean of the whole sample."""
    std: float
    """Population standard deviation of the whole sample."""
    spread: float
    """Population standard deviation of what is kept."""
    middle: float
    """Median of what is kept (the upper of two)."""


_cache: dict[int, Coefficients] = {}
_blocks: dict[int, tuple[float, Floats]] = {}
_cached_bytes = 0


def coefficients(n: int) -> Coefficients:
    """Give Royston's coefficients for samples of 6 to 10,000 values, from the cache if they fit."""
    global _cached_bytes
    found = _cache.get(n)
    if found is None:
        found = _coefficients(n)
        if _cached_bytes + found.half.nbytes <= CACHE_BYTES:
            _cache[n] = found
            _cached_bytes += found.half.nbytes
    return found


def _coefficients(n: int) -> Coefficients:
    scores = _scores(n)
    squares = 2.0 * float(np.dot(scores, scores))
    outermost, second = scores[:2].tolist()
    x = 1.0 / math.sqrt(n)
    first = _polynomial(_OUTERMOST, x) - outermost / math.sqrt(squares)
    next_ = _polynomial(_SECOND, x) - second / math.sqrt(squares)
    inner = squares - 2.0 * (outermost**2 + second**2)
    target = 1.0 - 2.0 * (first**2 + next_**2)
    half = np.multiply(scores, -math.sqrt(target / inner), out=scores)
    half[:2] = first, next_
    half.flags.writeable = False
    size = math.log(n)
    return Coefficients(
        half=half,
        length=math.sqrt(2.0 * (first**2 + next_**2) + target),
        log_mean=_polynomial(_MEAN, size),
        log_std=math.exp(_polynomial(_LOG_STD, size)),
    )


def _scores(n: int) -> Floats:
    """Give the normal scores of the lower half of `n` order statistics, all negative.

    Score i is the normal quantile at (i + 5/8) / (n + 1/4): in the logarithm of the argument, all
    scores of one size are those of another size shifted by one and the same step. So large sizes
    come from a Taylor series about a size nearby, in one product.
    """
    if n < SERIES_FROM:
        return _quantiles((np.arange(n // 2, dtype=np.float64) + 0.625) / (n + 0.25))
    block = int(math.log(n / SERIES_FROM) / SERIES_STEP)
    if block not in _blocks:
        _blocks[block] = _expand(block)
    centre, terms = _blocks[block]
    step = math.log(centre / (n + 0.25))
    powers = np.array([1.0, step, step**2, step**3, step**4])
    scores: Floats = np.dot(powers, terms[:, : n // 2])
    return scores


def _expand(block: int) -> tuple[float, Floats]:
    """Expand the scores about the middle size of a block, in the logarithm of the argument."""
    smallest = SERIES_FROM * math.exp(block * SERIES_STEP)
    centre = smallest * math.exp(SERIES_STEP / 2) + 0.25
    largest = int(smallest * math.exp(SERIES_STEP))
    p = (np.arange(largest // 2 + 1, dtype=np.float64) + 0.625) / centre
    m = _quantiles(p)
    g = p * math.sqrt(2.0 * math.pi) * np.exp(0.5 * m * m)  # dm / d log p
    g2 = g + m * g * g  # and its derivatives
    g3 = g2 + g**3 + 2.0 * m * g * g2
    g4 = g3 + 5.0 * g * g * g2 + 2.0 * m * (g2 * g2 + g * g3)
    return centre, np.stack([m, g, g2 / 2.0, g3 / 6.0, g4 / 24.0])


def _quantiles(p: Floats) -> Floats:
    """Give AS 111's normal quantiles of ascending probabilities up to 0.92."""
    tail = int(np.searchsorted(p, 0.5 - _CENTRE_ENDS))
    scores = np.empty_like(p)
    r = np.sqrt(-np.log(p[:tail]))
    scores[:tail] = -_polynomials(_TAIL, r) / _polynomials(_TAIL_BELOW, r)
    q = p[tail:] - 0.5
    r = q * q
    scores[tail:] = q * _polynomials(_CENTRE, r) / _polynomials(_CENTRE_BELOW, r)
    return scores


def _polynomials(powers: tuple[float, ...], x: Floats) -> Floats:
    values = x * powers[0]
    for factor in powers[1:-1]:
        values += factor
        values *= x
    values += powers[-1]
    return values


def _polynomial(powers: tuple[float, ...], x: float) -> float:
    value = 0.0
    for factor in powers:
        value = value * x + factor
    return value


def _w(values: Floats, deviation: float) -> float:
    """Give W of ascending values whose deviations from their mean have this Euclidean norm."""
    n = len(values)
    known = coefficients(n)
    half = n // 2
    ranges = values[: n - half - 1 : -1] - values[:half]
    if ranges.item(0) == 0.0:
        return 1.0
    root = float(np.dot(known.half, ranges)) / (known.length * deviation)
    return min(root * root, 1.0)


def _moments(values: Floats) -> tuple[float, float]:
    """Give the mean of ascending values, and the Euclidean norm of their deviations from it."""
    n = len(values)
    total = float(np.dot(values, _ONES[:n]))
    squares = float(np.dot(values, values))
    deviations = squares - total * total / n
    if deviations > WELL_CONDITIONED * squares and squares > 1e-200:
        return total / n, math.sqrt(deviations)
    middle = values.item(n // 2)
    scale = values.item(n - 1) - values.item(0)
    if scale == 0.0:
        return middle, 0.0
    shifted = (values - middle) / scale
    total = float(np.add.reduce(shifted))
    squares = float(np.dot(shifted, shifted))
    deviations = max(squares - total * total / n, 0.0)
    return middle + scale * (total / n), scale * math.sqrt(deviations)


_ONES = np.ones(LARGEST_SAMPLE)


class Sample:
    """A sorted sample in a preallocated buffer; equal multisets give equal bits."""

    def __init__(self, capacity: int) -> None:
        """Make room for `capacity` values."""
        self._buffer = np.empty(capacity)
        self._n = 0

    def __len__(self) -> int:
        """Count the values."""
        return self._n

    def fill(self, values: Floats) -> None:
        """Hold these values and no others."""
        self._n = len(values)
        self._buffer[: self._n] = np.sort(values)

    def insert(self, value: float) -> None:
        """Add a value."""
        n, buffer = self._n, self._buffer
        at = int(buffer[:n].searchsorted(value))
        buffer[at + 1 : n + 1] = buffer[at:n]
        buffer[at] = value
        self._n = n + 1

    def replace(self, old: float, new: float) -> None:
        """Put a value in the place of one that is in the sample."""
        buffer = self._buffer[: self._n]
        start, end = buffer.searchsorted((old, new)).tolist()
        if start < end:
            buffer[start : end - 1] = buffer[start + 1 : end]
            buffer[end - 1] = new
        else:
            buffer[end + 1 : start + 1] = buffer[end:start]
            buffer[end] = new

    def test(self, sigmas: float, most: float = 1.0) -> Result:
        """Leave out what lies more than `sigmas` standard deviations from the mean; compute W.

        Nothing is left out where that would be more than the share `most` of the values.
        """
        n = kept = self._n
        values = self._buffer[:n]
        mean, deviation = _moments(values)
        std = deviation / math.sqrt(n)
        low, high = mean - sigmas * std, mean + sigmas * std
        if values.item(0) < low or values.item(n - 1) > high:
            first = int(values.searchsorted(low))
            last = int(values.searchsorted(high, side="right"))
            if n - last + first <= most * n:
                kept = last - first
                values = values[first:last]
                deviation = _moments(values)[1]
        spread = deviation / math.sqrt(kept)
        return Result(_w(values, deviation), kept, mean, std, spread, values.item(kept // 2))
