"""Are alarms, records and thresholds what the obvious way of counting gives?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gamekeeper.detectors.catalog import build
from gamekeeper.replay.theft.bench.benign import draw, draw_grouped
from gamekeeper.replay.theft.bench.cell import first_above, points, record, running_means, scores
from gamekeeper.replay.theft.bench.setting import limits_of
from gamekeeper.replay.theft.bench.watch import Queries, Watch, alarms, featurize, statistics
from gamekeeper.schemas.errors import TraceError

PAPER = Watch("prada", {"mode": "paper"})


@pytest.fixture(scope="module")
def queries() -> Queries:
    """Return 700 queries that are regular from the middle on."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (700, 4, 4), dtype=np.uint8)
    images[350:] = images[:350] // 2
    return Queries(images, rng.integers(0, 3, 700), rng.random((700, 3), np.float32), {})


def test_statistics_are_the_detectors_own(queries: Queries) -> None:
    """Rows in any order are given to the detector in that order."""
    rows = np.random.default_rng(1).permutation(700)[:400]
    whole = build("prada", {"mode": "paper"}).update(queries.batch(rows, 0))
    np.testing.assert_array_equal(statistics(PAPER, queries, rows), whole)


def test_an_image_that_repeats_runs_through_the_networks_once(queries: Queries) -> None:
    """Each image has its own features, in the order of sending."""
    shown: list[int] = []

    def network(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        shown.append(len(images))
        return images.reshape(len(images), -1).astype(np.float32)

    sent = queries.images[[3, 1, 3, 3, 2, 1]]
    found = featurize({"embedding": network}, sent)["embedding"]
    np.testing.assert_array_equal(found, sent.reshape(6, -1))
    assert shown == [3]


def test_every_alarm_ends_an_account(queries: Queries) -> None:
    """After an alarm the rest is sent under a new account, which is watched afresh."""
    rows, limit, used = np.arange(700), 0.01, 0
    while True:
        above = np.flatnonzero(statistics(PAPER, queries, rows) > limit)
        if not len(above):
            break
        used, rows = used + 1, rows[above[0] + 1 :]
    assert used > 1
    assert alarms({"prada": PAPER}, {"prada": limit}, queries, np.arange(700)) == used


def test_no_alarm_ends_no_account(queries: Queries) -> None:
    """A threshold that nothing reaches counts none."""
    assert alarms({"prada": PAPER}, {"prada": 2.0}, queries, np.arange(700)) == 0


def test_accounts_are_watched_apart(queries: Queries) -> None:
    """Queries of two accounts in turn get the statistics of each alone."""
    accounts = np.arange(700) % 2
    both = scores(PAPER, queries, accounts)
    for each in (0, 1):
        rows = np.flatnonzero(accounts == each)
        np.testing.assert_array_equal(both[rows], statistics(PAPER, queries, rows))


@given(st.lists(st.floats(-1, 1) | st.just(np.nan), max_size=40), st.floats(-1, 1))
def test_records_tell_the_first_alarm_of_any_threshold(values: list[float], limit: float) -> None:
    """From the record alone it follows when a statistic was first above a limit."""
    array = np.array(values)
    above = np.flatnonzero(array > limit)
    assert first_above(record(array), limit) == (int(above[0]) + 1 if len(above) else None)


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


def test_thresholds_follow_the_account_rule() -> None:
    """Of 399 accounts, 1 % leaves 3 above the threshold, a quarter of it none, 20 % of lives 79."""
    largest = np.arange(399.0)
    names = ("prada", "prada-paper", "prada-v1", "similarity", "likelihood", "ood")
    maxima = {name: np.stack([largest - 5, largest], axis=1) for name in names}
    limits = limits_of(maxima, life=2000)
    assert limits["prada"] == {"prada": 395.0}
    assert limits["combined"] == dict.fromkeys(("prada", "similarity", "likelihood", "ood"), 398.0)
    assert limits["similarity per query"] == {"similarity": 319.0}
    assert limits["prada W < 0.90"] == {"prada-paper": pytest.approx(0.1)}


def test_running_means_are_means_of_what_came_so_far() -> None:
    """Each account's, at a hundred numbers of queries."""
    values = np.random.default_rng(2).normal(size=(3, 250))
    means = running_means(values)
    assert means.shape == (3, 100)
    for at, column in zip(points(250), means.T, strict=True):
        np.testing.assert_allclose(column, values[:, :at].mean(axis=1))
