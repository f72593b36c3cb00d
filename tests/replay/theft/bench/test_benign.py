"""Do honest accounts draw as their docstrings say?"""

from __future__ import annotations

import numpy as np
import pytest

from gamekeeper.replay.theft.bench.benign import draw, draw_grouped
from gamekeeper.schemas.errors import TraceError


def test_an_honest_account_sends_no_image_twice() -> None:
    """Each account's rows are different ones."""
    rows = draw(90, 7, 30, np.random.default_rng(0))
    assert rows.shape == (7, 30)
    assert all(len(set(each)) == 30 for each in rows.tolist())


def test_accounts_that_would_all_be_the_same_are_refused() -> None:
    """A pool that is hardly larger than a life is refused with what would do."""
    for refused in (draw, lambda images, *rest: draw_grouped(np.arange(images), *rest)):
        with pytest.raises(TraceError, match="90 are needed for each side, 300 in all"):
            refused(89, 7, 30, np.random.default_rng(0))


def test_a_calibration_account_draws_from_a_third_of_the_groups() -> None:
    """Each from others, and from as many more as its life needs; no image twice."""
    groups = np.arange(900) // 10
    rows = draw_grouped(groups, 5, 250, np.random.default_rng(0))
    assert rows.shape == (5, 250)
    assert all(len(set(each)) == 250 for each in rows.tolist())
    drawn = [frozenset(groups[each]) for each in rows]
    assert {len(each) for each in drawn} == {30}
    assert len(set(drawn)) == 5
    uneven = np.repeat(np.arange(31), [60, *[1] * 30])
    for each in draw_grouped(uneven, 20, 30, np.random.default_rng(1)):
        assert len(set(each)) == 30


def test_calibration_accounts_differ_as_two_sides_do() -> None:
    """Where groups deviate, accounts' means spread as the difference of two sides' means does."""
    rng = np.random.default_rng(2)
    groups = np.arange(9000) // 100
    deviations = rng.normal(size=90)
    rows = draw_grouped(groups, 2000, 3000, rng)
    spread = deviations[groups[rows]].mean(axis=1).var()
    assert spread == pytest.approx(2 * deviations.var(ddof=1) / 90, rel=0.1)
