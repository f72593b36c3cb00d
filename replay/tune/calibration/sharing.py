"""How detectors share what a profile promises: in whole accounts.

Of N calibration accounts and the next one, floor(alpha (N + 1)) may alarm. Each detector is allowed
some of these, so that the promise holds for all together, however their statistics depend on each
other (Bonferroni). One whose threshold has a least value is allowed one account: honest ones hardly
ever come near that value, so more would buy it nothing. The others share what is left, the first in
the profile before those behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import cycle, islice

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import DetectorProfile


def shares(
    alpha: Fraction, accounts: int, detectors: Sequence[DetectorProfile]
) -> dict[str, Fraction]:
    """Give each detector its share of alpha, with so many calibration accounts.

    Where these carry no alpha for each, shares are equal, as they are what would be promised.
    """
    names = [each.detector for each in detectors]
    left = math.floor(alpha * (accounts + 1)) - len(names)
    if len(names) == 1 or left < 0:
        return dict.fromkeys(names, alpha / len(names))
    allowed = dict.fromkeys(names, 1)
    takers = [name for name in names if math.isinf(DETECTORS[name].least)]
    for name in islice(cycle(takers), left):
        allowed[name] += 1
    return {name: Fraction(count, accounts + 1) for name, count in allowed.items()}
