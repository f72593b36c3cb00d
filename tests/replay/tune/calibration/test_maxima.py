"""The largest statistics of lives, and what came after these: all that a promise needs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from gamekeeper.detectors.engine import Profile, default_profile, override
from gamekeeper.replay.traces import open_trace
from gamekeeper.replay.tune.calibration import Plan, calibrate, promised, verify
from gamekeeper.replay.tune.calibration.maxima import measure
from support.toys import Echo, Echo2, random_values, write_values
from support.traces import events, write_trace


@pytest.mark.parametrize("queries", [1, 2, 3, 11, 20])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_maxima_are_those_of_the_first_queries(
    toys: Profile, tmp_path: Path, queries: int, batch: int
) -> None:
    """In any batches, the maximum is that of the ready statistics, or minus infinity."""
    values = random_values({"p": 4})
    with open_trace([write_values(tmp_path / "a.parquet", values)]) as store:
        found = measure(store, store.lives, toys, queries, batch=batch)
    for each in found:
        rows = values[each.life.trace, each.life.account][2:queries]
        for place, name in enumerate((Echo.name, Echo2.name)):
            assert each.maxima[name] == max((row[place] for row in rows), default=-math.inf)


def test_a_reset_policy_does_not_hide_the_maximum(echo: Profile, tmp_path: Path) -> None:
    """Alarms at the profile's own thresholds do not reset what is measured."""
    values = {("p", "a"): [[0.0, 0.0]] * 3 + [[0.9, 0.0]] + [[0.95, 0.0]]}
    reset = override(echo, ["policy.mode=reset", "echo.threshold=0.1"])
    with open_trace([write_values(tmp_path / "a.parquet", values)]) as store:
        assert measure(store, store.lives, reset, 5)[0].maxima == {"echo": 0.95}


def test_maxima_do_not_depend_on_jobs(tmp_path: Path) -> None:
    """Two processes find what one finds, in the same order."""
    path = write_trace(tmp_path / "a.parquet", events(accounts=3, each=90), trace="t")
    with open_trace([path]) as store:
        one = measure(store, store.lives, default_profile(), 150, jobs=1)
        two = measure(store, store.lives, default_profile(), 150, jobs=2)
    assert one == two
    assert all(0 < each.maxima["prada"] < 1 for each in one)


@pytest.mark.parametrize("beyond", [0, 1, 5, 13, 100])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_what_comes_later_is_told_by_where_it_grows(
    toys: Profile, tmp_path: Path, beyond: int, batch: int
) -> None:
    """The first query above any threshold is that of the ready statistics, in any batches."""
    life = 7
    values = random_values({"p": 5})
    with open_trace([write_values(tmp_path / "a.parquet", values)]) as store:
        found = measure(store, store.lives, toys, life, beyond=beyond, batch=batch)
    for each in found:
        rows = values[each.life.trace, each.life.account][life : life + beyond]
        assert (each.later.queries if each.later else 0) == len(rows)
        for place, name in enumerate((Echo.name, Echo2.name)):
            for limit in (-1.0, 0.2, 0.5, 0.8, 0.95):
                above = [at for at, row in enumerate(rows) if row[place] > limit]
                first = each.later.first_above(name, limit) if each.later else None
                assert first == (above[0] if above else None)


def test_first_alarms_beyond_the_life_are_a_rate(toys: Profile, tmp_path: Path) -> None:
    """Of accounts held out that have not alarmed in it, up to where they first do."""
    values = random_values({"p": 80})
    path = write_values(tmp_path / "a.parquet", values)
    result = calibrate([path], toys, Plan(alpha=0.3, life=12), name="mine")
    limits = [each.threshold for each in result.profile.detectors]
    queries = alarms = accounts = 0
    for each in result.held_out:
        rows = np.array(values[each.life.trace, each.life.account])
        above = (rows > limits).any(axis=1)
        above[:2] = False  # not ready
        if above[:12].any():
            continue
        later = np.flatnonzero(above[12:])
        accounts += 1
        queries += int(later[0]) + 1 if len(later) else len(rows) - 12
        alarms += bool(len(later))
    row = result.later[-1]
    assert (row.detector, row.accounts, row.queries, row.alarms) == (
        "any",
        accounts,
        queries,
        alarms,
    )
    assert alarms > 0
    test = scipy.stats.poisson
    low, high = (end * queries / 1e6 for end in row.interval)
    assert test.sf(alarms - 1, low) == pytest.approx(0.025)
    assert test.cdf(alarms, high) == pytest.approx(0.025)
    promise = result.profile.promise
    assert (promise.beyond_queries, promise.beyond_alarms) == (queries, alarms)
    assert promise.beyond_interval == tuple(row.interval)
    again = verify([path], result.profile)
    assert again.later[-1].accounts > accounts  # those that calibrated among them
    assert verify([path], result.profile, further=0).later == []


def test_lives_that_end_where_the_promise_does_say_nothing_more(
    echo: Profile, tmp_path: Path
) -> None:
    """Then the profile has no rate, and the verdicts' promise is what it was before there was."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 20}))
    result = calibrate([path], echo, Plan(alpha=0.2, life=20), name="x")
    assert result.later == []
    assert "nothing is known of longer lives" in promised(result.profile.promise)[-1]
    assert not [name for name in result.profile.promise.content if name.startswith("beyond")]
