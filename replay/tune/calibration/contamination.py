"""Benign accounts that do not look benign: a heuristic, which only ever warns.

A thief among the calibration accounts lifts the threshold to his own statistic. Nothing in the
traffic proves him one, so the rule names who is far above the others and leaves it to people.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.traces import Life
from gamekeeper.replay.tune.calibration.maxima import Maxima

CUT = 3.5
"""Robust standard deviations above the median, as Iglewicz and Hoaglin (1993) advise."""
FEWEST = 8
"""Accounts of a population that can be compared among themselves; smaller ones are put together."""

_MAD_OF_NORMAL = 1.4826  # makes the median absolute deviation a standard deviation
_MEAN_OF_NORMAL = 1.2533  # the same for the mean absolute deviation

RULE = (
    f"a maximum more than {CUT:g} robust standard deviations (median absolute deviation) above the "
    "median of its population, on a log scale where all are positive; a heuristic, no proof"
)


class Suspect(NamedTuple):
    """A life whose maximum is far above those of its peers, in robust standard deviations."""

    life: Life
    detector: str
    maximum: float
    median: float
    deviations: float


def suspects(accounts: Sequence[Maxima]) -> list[Suspect]:
    """Name the accounts that look contaminated, the farthest first; `RULE` says how.

    Accounts that were never ready are left aside, and fewer than `FEWEST` are not judged.
    """
    if not accounts:
        return []
    found = [
        suspect
        for detector in accounts[0].maxima
        for peers in _populations(accounts, detector)
        for suspect in _outliers(peers, detector)
    ]
    return sorted(found, key=lambda each: (-each.deviations, each.life.trace, each.life.account))


def _populations(accounts: Sequence[Maxima], detector: str) -> Iterator[list[Maxima]]:
    """Group the accounts that were ready by population, the small ones all together."""
    groups: dict[str, list[Maxima]] = {}
    for each in accounts:
        if math.isfinite(each.maxima[detector]):
            groups.setdefault(each.life.trace, []).append(each)
    rest = [each for group in groups.values() if len(group) < FEWEST for each in group]
    yield from (group for group in groups.values() if len(group) >= FEWEST)
    yield rest


def _outliers(peers: Sequence[Maxima], detector: str) -> Iterator[Suspect]:
    if len(peers) < FEWEST:
        return
    maxima = np.array([each.maxima[detector] for each in peers])
    deviations = robust_deviations(np.log(maxima) if maxima.min() > 0 else maxima)
    middle = float(np.median(maxima))
    for each, deviation in zip(peers, deviations.tolist(), strict=True):
        if deviation > CUT:
            yield Suspect(each.life, detector, each.maxima[detector], middle, deviation)


def robust_deviations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Say how far each of `(n,)` values is above their median, in robust standard deviations.

    Where more than half of the values are equal, the mean absolute deviation takes the place of
    the median one, which is 0 there; all are 0 where all values are equal.

    >>> robust_deviations(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(2).tolist()
    [-1.35, -0.67, 0.0, 0.67, 65.43]
    """
    distances = values - np.median(values)
    scale = _MAD_OF_NORMAL * float(np.median(np.abs(distances)))
    if scale == 0:
        scale = _MEAN_OF_NORMAL * float(np.mean(np.abs(distances)))
    return distances / scale if scale else np.zeros_like(distances)
