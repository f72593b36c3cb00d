"""Populations that differ from the others are named, and alike ones are not."""

from __future__ import annotations

import math

import numpy as np

from gamekeeper.replay.tune.calibration import Maxima
from gamekeeper.replay.tune.calibration.exchangeability import FEWEST, LEVEL, unlike
from support.toys import life


def maxima(rng: np.random.Generator, population: str, number: int, higher: float) -> list[Maxima]:
    """Make accounts of two detectors, of which the second is `higher`."""
    return [
        Maxima(
            life(f"{population}-{i}", population),
            {"echo": float(rng.lognormal()), "echo-2": float(rng.lognormal(higher))},
        )
        for i in range(number)
    ]


def test_a_population_that_differs_is_named_for_the_detector_for_which_it_does() -> None:
    """With its accounts and both medians; of two, both differ from each other."""
    rng = np.random.default_rng(0)
    accounts = [each for name in "abc" for each in maxima(rng, name, 30, 0)]
    accounts += maxima(rng, "odd", 30, 3)
    named = [each for each in unlike(accounts) if each.population == "odd"]
    [found] = named
    assert (found.detector, found.accounts) == ("echo-2", 30)
    assert found.median > 5 * found.others
    assert found.probability < 1e-9
    two = unlike([*maxima(rng, "a", 30, 0), *maxima(rng, "odd", 30, 3)])
    assert {each.population for each in two} == {"a", "odd"}


def test_alike_populations_are_seldom_named() -> None:
    """At the level that is paid over all tests, on many seeds."""
    wrong = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        wrong += bool(unlike([each for name in "abcd" for each in maxima(rng, name, 12, 0)]))
    assert wrong <= 3 * 300 * LEVEL


def test_what_cannot_be_compared_is_not_judged() -> None:
    """One population, a few accounts, and ones that were never ready."""
    rng = np.random.default_rng(0)
    assert unlike([]) == []
    assert unlike(maxima(rng, "a", 50, 0)) == []
    assert unlike(maxima(rng, "a", 50, 0) + maxima(rng, "b", FEWEST - 1, 9)) == []
    silent = [Maxima(life(str(i), "ab"[i % 2]), {"echo": -math.inf}) for i in range(40)]
    assert unlike(silent) == []
