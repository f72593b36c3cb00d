"""What PRADA's three modes make of D.

* `paper`: Algorithm 3 as it is written: values up to and including 3 standard deviations from the
  mean are kept, W is theirs. Equal values have W = 1, so the statistic is 0.
* `reference`: as the authors' code does it: D holds only classes with at least 10 distances,
  values at exactly 3 standard deviations are left out, more than 100 have to be kept.
* `hardened`: closes what the other two leave open to those who know them. Distances without
  spread, and distances more regular than chance allows, have statistic 1. Outliers stay where
  they are too many to be a normal sample's, so that padding cannot trim an attack away.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.normality.shapiro import LARGEST_SAMPLE, Result, Sample, coefficients

MODES = ("hardened", "paper", "reference")
READY = 100
"""The statistic is defined where D holds more distances than this (Algorithm 3, line 20)."""
REFERENCE_EVERY = 10
REFERENCE_CLASS = 10
"""The authors' code tests at queries 0, 10, 20 ... and on classes of at least 10 distances."""
WINDOWS = {"hardened": 1000, "paper": LARGEST_SAMPLE, "reference": LARGEST_SAMPLE}
"""Distances in D unless told otherwise. 1,000 costs no false alarms against an unbounded D, and an
attack after 5,000 honest queries is found within 600; with 500, benign statistics grow."""
THRESHOLDS = {"hardened": 0.1, "paper": 0.04, "reference": 0.04}
"""Papers: 1 - 0.96, no false alarm on MNIST in Table VIII. Hardened: no alarm in 60 accounts each
of 1,000 MNIST, upscaled UCI and Fashion-MNIST images, where 0.04 flags 0, 57 and 29 of them."""

_TIE = 1e-9
"""Share of 3 sigma by which a value counts as on the bound: not the last bit of a sum decides."""
_SIGMAS = {"hardened": 3 * (1 + _TIE), "paper": 3 * (1 + _TIE), "reference": 3 * (1 - _TIE)}
_MOST_OUTLIERS = {"hardened": 0.05, "paper": 1.0, "reference": 1.0}
"""Hardened: beyond this share, outliers are the evidence (a normal sample has 0.3 % of them)."""
_LEAST_SPREAD = 1e-4
"""Hardened: a smaller ratio of deviation to median is a constant step. Uniform noise, the most
regular natural traffic, has 1.5e-2 in 784 dimensions and 1e-3 in 150,000."""
_LEAST_Z = -5.0
"""Hardened: log(1 - W) this many deviations below a normal sample's mean is too regular."""


def reduce(mode: str, records: NDArray[Any]) -> Sample:
    """Make a sorted sample of the last records of the distance log, as a mode wants them."""
    distances = records["distance"]
    if mode == "reference":
        _, classes, counts = np.unique(records["label"], return_inverse=True, return_counts=True)
        distances = distances[counts[classes] >= REFERENCE_CLASS]
    sample = Sample(max(len(distances), 1))
    sample.fill(distances)
    return sample


def test(mode: str, sample: Sample) -> Result | None:
    """Trim and test D; None where the mode finds too few distances."""
    if len(sample) <= READY:
        return None
    result = sample.test(_SIGMAS[mode], _MOST_OUTLIERS[mode])
    return None if mode == "reference" and result.kept <= READY else result


def judge(mode: str, result: Result) -> float:
    """Turn a test's result into the statistic, 0 to 1."""
    statistic = 1.0 - result.w
    if mode == "hardened":
        if result.spread < _LEAST_SPREAD * result.middle:
            return 1.0
        normal = coefficients(result.kept)
        if statistic < math.exp(normal.log_mean + _LEAST_Z * normal.log_std):
            return 1.0
    return statistic
