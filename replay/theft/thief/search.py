"""The search for a learning rate and a number of epochs by Bayesian optimisation."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

RATES = (1e-4, 1e-2)
"""The learning rates searched between (PRADA version 2, section III-A)."""
SIDE = 33
"""Settings per side of the grid that stands for the paper's continuous square; neighbours differ
by a factor of 1.15 in the learning rate and 1.11 in the epochs."""
GRID = np.array(list(itertools.product(np.linspace(0.0, 1.0, SIDE), repeat=2)))
CORNERS = (0, SIDE - 1, SIDE * (SIDE - 1), SIDE * SIDE - 1)


class Search(NamedTuple):
    """How long to search; the defaults are the paper's, smaller numbers scale it down.

    After the four corners, `random` settings are tried and then `guided` ones (PRADA version 2,
    Algorithm 2, lines 17 to 30), each by cross-validation in `folds` parts of the thief's `images`
    oldest images: the paper searches on the seeds, 10 per class (section IV-B). `epochs` is the
    range searched.
    """

    random: int = 11
    guided: int = 15
    folds: int = 5
    images: int = 100
    epochs: tuple[int, int] = (10, 320)

    def setting(self, place: int) -> tuple[float, int]:
        """Give the learning rate and the epochs of a place in the grid, both in log scale."""
        rate, epochs = (
            low * (high / low) ** share
            for share, (low, high) in zip(GRID[place], (RATES, self.epochs), strict=True)
        )
        return float(rate), round(epochs)


def best_setting(
    accuracy: Callable[[float, int], float], search: Search, seed: int
) -> tuple[float, int]:
    """Find the rate and the epochs of the highest accuracy (Algorithm 2, CV-SEARCH).

    Of equal ones, the first that was tried. No setting is tried twice, as `accuracy` would give
    the same again.
    """
    inside = np.delete(np.arange(len(GRID)), CORNERS)
    drawn = np.random.default_rng(seed).choice(inside, search.random, replace=False)
    tried = [*CORNERS, *drawn.tolist()]
    found = [accuracy(*search.setting(place)) for place in tried]
    for _ in range(search.guided):
        tried.append(_promising(tried, found, seed))
        found.append(accuracy(*search.setting(tried[-1])))
    return search.setting(tried[int(np.argmax(found))])


def middle(search: Search) -> tuple[float, int]:
    """Give the middle of the range, for who has too little to search with."""
    return search.setting(SIDE * SIDE // 2)


def _promising(tried: Sequence[int], found: Sequence[float], seed: int) -> int:
    """Find the untried place whose expected accuracy plus standard deviation is highest.

    The paper does not say which Gaussian process; kernel, noise and restarts are those of the
    package that its footnote 5 names.
    """
    process = GaussianProcessRegressor(
        Matern(nu=2.5), alpha=1e-6, normalize_y=True, n_restarts_optimizer=5, random_state=seed
    )
    with warnings.catch_warnings():
        # Where all settings do equally well, any length scale fits.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(GRID[tried], found)
    expected, deviation = process.predict(GRID, return_std=True)
    hope = expected + deviation
    hope[tried] = -np.inf
    return int(np.argmax(hope))
