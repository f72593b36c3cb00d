"""Whether the populations of a calibration are alike: whom its promise is about.

The rule takes accounts for exchangeable, each as likely as another to have the largest maximum.
Accounts of several populations are so only as a mix in these shares: one whose maxima are higher
than the others' alarms more often than promised, and the others less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp

from gamekeeper.replay.tune.calibration.maxima import Maxima

LEVEL = 0.01
"""The chance at most that any of the populations is named though all are alike."""
FEWEST = 5
"""Accounts of a population, and of the others, that can be compared."""

RULE = (
    "a two-sample Kolmogorov-Smirnov test of each population's maxima against the others', at "
    f"{100 * LEVEL:g} % over all populations and detectors (Bonferroni)"
)


class Unlike(NamedTuple):
    """A population whose maxima of a detector are not distributed as the other populations' are.

    `median` is that of its maxima, `others` that of the rest; `probability` is how likely so large
    a difference is where there is none, times the number of tests, at most 1.
    """

    population: str
    detector: str
    accounts: int
    median: float
    others: float
    probability: float


def unlike(accounts: Sequence[Maxima]) -> list[Unlike]:
    """Name populations that differ from the rest, the least likely first; `RULE` says how.

    Populations of fewer than `FEWEST` accounts are not judged, but are among the others.
    """
    found = list(_compared(accounts))
    paid = [each._replace(probability=min(1.0, len(found) * each.probability)) for each in found]
    return sorted(
        (each for each in paid if each.probability < LEVEL),
        key=lambda each: (each.probability, each.population, each.detector),
    )


def _compared(accounts: Sequence[Maxima]) -> Iterator[Unlike]:
    for population in sorted({each.life.trace for each in accounts}):
        own = [each for each in accounts if each.life.trace == population]
        others = [each for each in accounts if each.life.trace != population]
        if min(len(own), len(others)) < FEWEST:
            continue
        for detector in own[0].maxima:
            here, there = ([each.maxima[detector] for each in side] for side in (own, others))
            probability = float(ks_2samp(here, there).pvalue)
            medians = float(np.median(here)), float(np.median(there))
            yield Unlike(population, detector, len(own), *medians, probability)
