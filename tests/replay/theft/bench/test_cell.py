"""Do a cell's running means follow the queries?"""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.theft.bench.cell import points, running_means


def test_running_means_are_means_of_what_came_so_far() -> None:
    """Each account's, at a hundred numbers of queries."""
    values = np.random.default_rng(2).normal(size=(3, 250))
    means = running_means(values)
    assert means.shape == (3, 100)
    for at, column in zip(points(250), means.T, strict=True):
        np.testing.assert_allclose(column, values[:, :at].mean(axis=1))
