"""Does the search try what Algorithm 2 tries, and find what is best?"""

from __future__ import annotations

import math

import pytest

from gamekeeper.replay.theft.thief.search import Search, best_setting

SMALL = Search(random=5, guided=8)


def hill(rate: float, epochs: float) -> float:
    """Rise smoothly to 1 at a rate of 0.002 and 40 epochs."""
    return math.exp(-(math.log10(rate / 0.002) ** 2) - math.log10(epochs / 40) ** 2)


def test_the_corners_come_first_and_all_stays_between_them() -> None:
    """The four corners are tried, then as many others as were asked for, none of them twice."""
    tried: list[tuple[float, int]] = []

    def accuracy(rate: float, epochs: int) -> float:
        tried.append((rate, epochs))
        return hill(rate, epochs)

    best_setting(accuracy, SMALL, 1)
    corners = [(pytest.approx(rate), epochs) for rate in (1e-4, 1e-2) for epochs in (10, 320)]
    assert tried[:4] == corners
    assert len(tried) == len(set(tried)) == 4 + 5 + 8
    assert all(1e-4 <= rate <= 1.0001e-2 and 10 <= epochs <= 320 for rate, epochs in tried)


def test_as_many_settings_are_tried_as_in_the_paper() -> None:
    """Four corners, then up to the 15th at random, then up to the 30th by the process."""
    tried: list[float] = []
    best_setting(lambda rate, epochs: tried.append(rate) or 0.5, Search(), 1)
    assert len(tried) == 30


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_guided_tries_climb_the_hill(seed: int) -> None:
    """The process comes close to a smooth peak that corners and a few random tries miss."""
    rate, epochs = best_setting(hill, SMALL, seed)
    assert hill(rate, epochs) > 0.99
    assert hill(*best_setting(hill, SMALL._replace(guided=0), seed)) < hill(rate, epochs)


def test_of_equal_settings_the_first_is_taken() -> None:
    """Where everything does equally well, the cheapest corner wins."""
    assert best_setting(lambda rate, epochs: 0.5, SMALL, 1) == (pytest.approx(1e-4), 10)
