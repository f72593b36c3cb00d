"""Benign accounts that look contaminated are named, by comparison with their peers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from gamekeeper.replay.tune.calibration import Maxima
from gamekeeper.replay.tune.calibration.contamination import CUT, suspects
from support.toys import life


def maxima(values: Sequence[float], population: str = "t") -> list[Maxima]:
    """Make accounts of given maxima."""
    return [
        Maxima(life(f"{population}-{i}", population), {"echo": each})
        for i, each in enumerate(values)
    ]


def test_a_thief_among_the_accounts_is_named() -> None:
    """A maximum far above the others' is named, on a log scale, with its distance."""
    honest = np.random.default_rng(0).lognormal(-4, 0.4, 30).tolist()
    assert suspects(maxima(honest)) == []
    (found,) = suspects(maxima([*honest, 0.5]))
    assert (found.life.account, found.maximum) == ("t-30", 0.5)
    logs = np.log([*honest, 0.5])
    scale = 1.4826 * np.median(np.abs(logs - np.median(logs)))
    assert found.deviations == pytest.approx((logs[-1] - np.median(logs)) / scale)
    assert found.deviations > CUT


def test_accounts_are_compared_with_their_own_population() -> None:
    """A population that is high as a whole is no thief; small ones are judged together."""
    low = np.random.default_rng(1).lognormal(-4, 0.2, 30).tolist()
    high = np.random.default_rng(2).lognormal(-1, 0.2, 10).tolist()
    assert suspects(maxima(low) + maxima(high, "u")) == []
    singles = [maxima([each], f"own-{i}")[0] for i, each in enumerate([*low, 0.9])]
    assert [each.life.trace for each in suspects(singles)] == ["own-30"]


def test_what_cannot_be_compared_is_not_judged() -> None:
    """Few accounts, equal ones, and ones that were never ready name nobody."""
    assert suspects([]) == []
    assert suspects(maxima([0.1, 0.1, 0.9])) == []
    assert suspects(maxima([0.1] * 20)) == []
    assert suspects(maxima([0.1, 0.12, 0.11, 0.13, 0.1, 0.12, 0.11, 0.13] + [-math.inf] * 20)) == []
    assert [each.maximum for each in suspects(maxima([-0.1] * 20 + [0.9]))] == [0.9]
