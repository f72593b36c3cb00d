"""The engine: any batching, any interleaving and any restart give the same verdicts."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.engine import (
    Account,
    Arrival,
    Engine,
    Profile,
    Source,
    default_profile,
    override,
)
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Verdict

WIDTH = 144


def traffic(seed: int = 0, accounts: int = 3, events: int = 180) -> list[Arrival]:
    """Make interleaved events of 1 to 4 rows; account 0 turns to crafted steps a third in."""
    rng = np.random.default_rng(seed)
    arrivals = []
    for offset in range(events * accounts):
        account = int(rng.integers(accounts))
        n = int(rng.integers(1, 5))
        inputs = rng.normal(size=(n, WIDTH)).astype(np.float32)
        if account == 0 and offset > events * accounts / 3:
            inputs = np.sign(inputs) * np.float32(0.1) + np.float32(offset % 3)
        event = QueryEvent(
            id=str(offset),
            account=f"account-{account}",
            model="m",
            time=offset * 1000,
            inputs=Tensor.from_array(inputs),
            labels=[int(label) for label in rng.integers(0, 2, n)],
        )
        arrivals.append(Arrival(event, Source("queries", 0, offset)))
    return arrivals


TRAFFIC = traffic()
PAPER = override(default_profile(), ["prada.mode=paper", "prada.threshold=0.04"])


def run(
    profile: Profile, arrivals: list[Arrival], cuts: list[int]
) -> tuple[list[Verdict], dict[str, list[float]]]:
    """Process the arrivals cut at these places; return verdicts and statistics per account."""
    engine = Engine(profile)
    verdicts: list[Verdict] = []
    statistics: dict[str, list[float]] = {}
    edges = [0, *sorted(cuts), len(arrivals)]
    for begin, end in pairwise(edges):
        for outcome in engine.process(arrivals[begin:end]):
            verdicts += outcome.verdicts
            own = statistics.setdefault(outcome.arrival.event.account, [])
            own += outcome.statistics["prada"].tolist()
    return verdicts, statistics


@lru_cache
def undivided(mode: str = "latch") -> tuple[list[Verdict], dict[str, list[float]]]:
    """Process all arrivals at once under a policy."""
    return run(override(PAPER, [f"policy.mode={mode}"]), TRAFFIC, [])


def test_the_crafting_account_and_no_other_is_caught():
    """The test's traffic contains an alarm, so that the tests below compare something."""
    verdicts, _ = undivided()
    assert {verdict.account for verdict in verdicts} == {"account-0"}


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, len(TRAFFIC)), max_size=30))
@pytest.mark.parametrize("mode", ["latch", "reset"])
def test_any_batching_gives_the_same_verdicts_and_statistics(mode: str, cuts: list[int]):
    """Under both policies, resets in the middle of a batch included."""
    profile = override(PAPER, [f"policy.mode={mode}"])
    whole, part = undivided(mode), run(profile, TRAFFIC, cuts)
    assert part[0] == whole[0]
    for account, statistics in whole[1].items():
        np.testing.assert_array_equal(part[1][account], statistics)


def test_resets_raise_more_alarms_than_a_latch():
    """Each alarm under `reset` is a finding of its own, with its own id."""
    verdicts, _ = undivided("reset")
    assert len(verdicts) > 1
    assert len({verdict.finding for verdict in verdicts}) == len(verdicts)
    assert len({verdict.id for verdict in verdicts}) == len(verdicts)


@pytest.mark.parametrize("stop", [1, 50, 250, 500])
def test_an_account_restored_from_its_rows_goes_on_exactly(stop: int):
    """Saved through drain and header at every batch, loaded into another engine."""
    whole, statistics = undivided()
    engine = Engine(PAPER)
    stored: dict[tuple[str, str], list[tuple[str, Segment]]] = {}
    verdicts = []
    for begin in range(0, stop, 7):
        for outcome in engine.process(TRAFFIC[begin : min(begin + 7, stop)]):
            verdicts += outcome.verdicts
        for key, account in engine.accounts.items():
            stored.setdefault(key, []).extend(account.drain())
    restored = Engine(PAPER)
    for key, account in engine.accounts.items():
        horizon = account.horizon()
        live = [
            (name, segment)
            for name, segment in stored[key]
            if segment.end > horizon.get((name, segment.log), 0)
        ]
        restored.accounts[key] = Account(PAPER)
        restored.accounts[key].load(account.header(), live)
    seen: dict[str, list[float]] = {}
    for outcome in restored.process(TRAFFIC[stop:]):
        verdicts += outcome.verdicts
        seen.setdefault(outcome.arrival.event.account, []).extend(outcome.statistics["prada"])
    assert verdicts == whole
    for name, tail in seen.items():
        np.testing.assert_array_equal(tail, statistics[name][-len(tail) :])


def test_a_verdict_says_where_it_comes_from():
    """Source, row, query index, times and profile are those of the causing query."""
    [first, *_], _ = undivided()
    assert first.topic == "queries"
    cause = TRAFFIC[first.offset].event
    assert (cause.account, cause.time) == (first.account, first.last_time)
    before = sum(
        len(arrival.event)
        for arrival in TRAFFIC[: first.offset]
        if arrival.event.account == first.account
    )
    assert first.query == before + first.row
    assert first.queries == first.query + 1
    assert first.profile == PAPER.hash
    assert first.evidence["w"] == pytest.approx(1 - first.statistic)


def test_an_analyst_closes_a_finding_once_and_its_detector_begins_anew():
    """The order closes its own finding only; the account can be caught again, not at once."""
    engine = Engine(PAPER)
    [create] = [
        verdict
        for outcome in engine.process(TRAFFIC)
        for verdict in outcome.verdicts
        if verdict.activity == "create"
    ]
    order = CloseOrder(
        account=create.account, model="m", finding=create.finding, time=9, note="our own test"
    )
    stranger = msgspec.structs.replace(order, finding="another")
    orders = [
        Arrival(each, Source("queries", 0, len(TRAFFIC) + number))
        for number, each in enumerate([stranger, order, order])
    ]
    [nothing, [closed], twice] = [outcome.verdicts for outcome in engine.process(orders)]
    assert (nothing, twice) == ([], [])
    assert (closed.activity, closed.reason, closed.finding) == ("close", "analyst", create.finding)
    assert closed.evidence["note"] == "our own test"
    assert closed.offset == len(TRAFFIC) + 1
    again = [a for a in TRAFFIC if a.event.account == create.account][-30:]
    assert not any(outcome.verdicts for outcome in engine.process(again))


def test_a_model_that_is_not_watched_is_passed_over():
    """Its events have an outcome, without statistics."""
    engine = Engine(Profile(name="other", model="other", detectors=PAPER.detectors))
    outcomes = engine.process(TRAFFIC[:3])
    assert [outcome.statistics for outcome in outcomes] == [{}, {}, {}]
    assert not engine.accounts


def test_rows_of_another_shape_do_not_stop_an_account():
    """A client that changes its input's shape or dtype is scored on."""
    engine = Engine(PAPER)
    odd = [
        np.zeros((1, 4), np.float32),
        np.zeros((2, 4), np.uint8),
        np.zeros((1, 2, 2), np.float32),
    ]
    arrivals = [
        Arrival(
            QueryEvent(
                id=str(i),
                account="a",
                model="m",
                time=i,
                inputs=Tensor.from_array(x),
                labels=[0] * len(x),
            ),
            Source("queries", 0, i),
        )
        for i, x in enumerate(odd)
    ]
    assert [len(outcome.statistics["prada"]) for outcome in engine.process(arrivals)] == [1, 2, 1]
