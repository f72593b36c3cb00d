"""The arithmetic of an evaluation: what is counted, and how sure one can be of it.

An **alarm query** is a query after which the statistic is above the threshold (strictly). A
**life** is one account's queries to one model in one trace.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, chi2

from gamekeeper.detectors.base import Floats

CHUNK = 50
"""Queries in a chunk, as in PRADA's evaluation (second version, section V-B)."""


class Interval(NamedTuple):
    """A confidence interval of a probability, both ends in [0, 1], or of a rate, both above 0."""

    low: float
    high: float


def clopper_pearson(hits: int, total: int, confidence: float = 0.95) -> Interval:
    """Bound a probability of which `hits` of `total` independent trials were seen (exact).

    The interval covers the true value with at least `confidence`, whatever it is. Raises
    `ValueError` unless 0 <= hits <= total and 0 < total.

    >>> low, high = clopper_pearson(0, 12)
    >>> low, round(high, 4)
    (0.0, 0.2646)
    """
    if not 0 <= hits <= total or total == 0:
        raise ValueError(f"{hits} hits of {total} trials")
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, hits, total - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, total - hits)) if hits < total else 1.0
    return Interval(low, high)


def garwood(events: int, exposure: float, confidence: float = 0.95) -> Interval:
    """Bound a rate at which `events` independent events were seen in `exposure` (exact).

    Garwood, Fiducial Limits for the Poisson Distribution, 1936. Raises `ValueError` unless
    `exposure` is above 0 and `events` not below.

    >>> low, high = garwood(0, 2.0)
    >>> low, round(high, 4)
    (0.0, 1.8444)
    """
    if events < 0 or not exposure > 0:
        raise ValueError(f"{events} events in {exposure}")
    tail = (1 - confidence) / 2
    low = float(chi2.ppf(tail, 2 * events)) / 2 if events else 0.0
    return Interval(low / exposure, float(chi2.ppf(1 - tail, 2 * events + 2)) / 2 / exposure)


def alarm_queries(statistics: Floats, threshold: float) -> NDArray[np.int64]:
    """Find the rows of `(n,)` statistics that are above the threshold; NaN never is.

    >>> alarm_queries(np.array([np.nan, 0.5, 0.1, 0.3]), 0.1).tolist()
    [1, 3]
    """
    return np.flatnonzero(statistics > threshold)


def chunks_of(queries: int, size: int = CHUNK) -> int:
    """Count a life's chunks: consecutive stretches of `size` queries, the last may be shorter.

    >>> chunks_of(100), chunks_of(101), chunks_of(0)
    (2, 3, 0)
    """
    return -(-queries // size)


def alarmed_chunks(alarms: NDArray[np.int64], size: int = CHUNK) -> set[int]:
    """Say which chunks hold at least one of the alarm queries, given by their index in the life.

    >>> sorted(alarmed_chunks(np.array([3, 49, 50, 170])))
    [0, 1, 3]
    """
    return set((alarms // size).tolist())


def rate(hits: int, total: int) -> float | None:
    """Divide, or say None where there is nothing to divide by.

    >>> rate(1, 4), rate(0, 0)
    (0.25, None)
    """
    return hits / total if total else None


def typical(detections: Sequence[int | None]) -> float | None:
    """Take the median of the queries to detection; None is an attack that was missed.

    A missed attack counts as one that takes for ever, so that a detector does not look faster
    for catching less. None where at least half are missed.

    >>> typical([100, 300, 200]), typical([100, 200, None]), typical([100, None])
    (200.0, 200.0, None)
    """
    middle = median(math.inf if each is None else float(each) for each in detections)
    return middle if math.isfinite(middle) else None


def worst(detections: Sequence[int | None]) -> int | None:
    """Take the largest number of queries to detection; None if any attack was missed.

    >>> worst([100, 300, 200]), worst([100, None])
    (300, None)
    """
    caught = [each for each in detections if each is not None]
    return max(caught) if len(caught) == len(detections) else None
