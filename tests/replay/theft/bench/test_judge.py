"""Are statistics, alarms and records what the obvious way of counting gives?"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.engine import DetectorProfile, Profile
from gamekeeper.replay.theft.bench.judge import (
    first_above,
    judge,
    record,
    retired,
    scores,
    statistics,
)
from gamekeeper.replay.theft.bench.pools import Queries, Rows
from gamekeeper.replay.theft.bench.rules import Watched

DETECTORS = {
    "prada-paper": DetectorProfile(detector="prada", options={"mode": "paper"}),
    "similarity": DetectorProfile(detector="similarity", options={"delta": 9.0, "secret": 1}),
}
LIMITS = {"prada-paper": 0.01, "similarity": 6.0}


def _rule(*names: str, **limits: float) -> Profile:
    chosen = {**LIMITS, **limits}
    own = tuple(replace(DETECTORS[name], threshold=chosen[name]) for name in names)
    return Profile(name=" and ".join(names), detectors=own)


@pytest.fixture(scope="module")
def queries() -> Queries:
    """Return 700 queries that are regular from the middle on, and in part like earlier ones."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (700, 4, 4), dtype=np.uint8)
    images[350:] = images[:350] // 2
    embeddings = rng.normal(size=(700, 8)).astype(np.float32) * 9
    embeddings[100::7] = embeddings[:-100:7]
    features = {"embedding": embeddings}
    return Queries(images, rng.integers(0, 3, 700), rng.random((700, 3), np.float32), features)


def _obvious(queries: Queries, rows: Rows, name: str) -> Floats:
    """Give a detector all at once."""
    batch = Batch(
        0,
        queries.images[rows],
        queries.labels[rows],
        features={"embedding": queries.features["embedding"][rows]},
    )
    return build(DETECTORS[name].detector, DETECTORS[name].options).update(batch)


def _obvious_uses(queries: Queries, rows: Rows, rule: Profile, names: tuple[str, ...]) -> int:
    """Cut the sender's queries behind every alarm, and begin again with what is left."""
    used = 0
    while True:
        above = np.zeros(len(rows), bool)
        for each, name in zip(rule.detectors, names, strict=True):
            above |= _obvious(queries, rows, name) > each.threshold
        if not above.any():
            return used
        used, rows = used + 1, rows[above.argmax() + 1 :]


def test_statistics_are_the_detectors_own(queries: Queries) -> None:
    """Rows in any order are given to the detectors in that order."""
    rows = np.random.default_rng(1).permutation(700)[:600]
    found = statistics(DETECTORS, queries.batches(rows))
    assert list(found) == list(DETECTORS)
    for name, values in found.items():
        np.testing.assert_array_equal(values, _obvious(queries, rows, name))
    assert {len(values) for values in statistics(DETECTORS, []).values()} == {0}


@pytest.mark.parametrize(
    "names", [("prada-paper",), ("similarity",), ("prada-paper", "similarity")]
)
def test_every_alarm_ends_an_account(queries: Queries, names: tuple[str, ...]) -> None:
    """After an alarm the rest is sent under a new account, which is watched afresh."""
    rows, rule = np.arange(700), _rule(*names)
    used = _obvious_uses(queries, rows, rule, names)
    assert used > 1
    found = statistics(DETECTORS, queries.batches(rows))
    assert retired(rule, queries.batches(rows), found) == used


def test_no_alarm_ends_no_account(queries: Queries) -> None:
    """A threshold that nothing reaches counts none."""
    found = statistics(DETECTORS, queries.batches(np.arange(700)))
    rule = _rule("prada-paper", **{"prada-paper": 2.0})
    assert retired(rule, queries.batches(np.arange(700)), found) == 0


def test_accounts_are_watched_apart(queries: Queries) -> None:
    """Queries of two accounts in turn get the statistics of each alone."""
    accounts = np.arange(700) % 2
    both = scores(DETECTORS, queries, accounts)
    for each in (0, 1):
        rows = np.flatnonzero(accounts == each)
        for name, values in both.items():
            np.testing.assert_array_equal(values[rows], _obvious(queries, rows, name))


def test_a_rule_counts_the_first_alarm_of_all_senders_and_every_sender_s_accounts(
    queries: Queries,
) -> None:
    """Its detectors alarm together; what none of them catches uses no account."""
    accounts = np.arange(700) % 2
    names = ("prada-paper", "similarity")
    rules = {"both": _rule(*names), "none": _rule("prada-paper", **{"prada-paper": 2.0})}
    records, caught, used = judge(Watched(DETECTORS, rules), queries, accounts)
    found = scores(DETECTORS, queries, accounts)
    assert records == {name: record(values) for name, values in found.items()}
    above = np.any([found[name] > LIMITS[name] for name in names], axis=0)
    assert caught == {"both": int(above.argmax()) + 1, "none": None}
    senders = [np.flatnonzero(accounts == each) for each in (0, 1)]
    each_used = [_obvious_uses(queries, rows, rules["both"], names) for rows in senders]
    assert min(each_used) > 0
    assert used == {"both": sum(each_used), "none": 0}


@given(st.lists(st.floats(-1, 1) | st.just(np.nan), max_size=40), st.floats(-1, 1))
def test_records_tell_the_first_alarm_of_any_threshold(values: list[float], limit: float) -> None:
    """From the record alone it follows when a statistic was first above a limit."""
    array = np.array(values)
    above = np.flatnonzero(array > limit)
    assert first_above(record(array), limit) == (int(above[0]) + 1 if len(above) else None)
