"""A detector that reads what the others say: in any batching, after restarts, when closed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.engine import (
    Account,
    Arrival,
    DetectorProfile,
    Engine,
    Policy,
    Profile,
    Source,
    check_thresholds,
    resolve,
)
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Verdict

HABITS = "prada,spacing;0.02,1;0.01,1;0,0;1,0;0,1"


def profile(**changes: Any) -> Profile:
    """Two detectors that are read, the one that reads them before them, and one that is alone."""
    detectors = (
        DetectorProfile(detector="novelty", options={"habits": HABITS}, threshold=1.5),
        DetectorProfile(detector="prada"),
        DetectorProfile(detector="spacing", options={"usual": "1.5,-0.05,0.2", "window": 60}),
        DetectorProfile(detector="steps"),
    )
    return resolve(Profile(**{"name": "reading", "detectors": detectors, **changes}))


def traffic(events: int = 150) -> list[Arrival]:
    """Honest queries, some of them sent again, then crafted ones."""
    rng = np.random.default_rng(0)
    arrivals = []
    for offset in range(events):
        inputs = rng.normal(size=(1 + offset % 4, 12)).astype(np.float32)
        if offset > events / 2:
            inputs = np.sign(inputs) * np.float32(0.1) + np.float32(offset % 3)
        if offset % 10 == 0:
            inputs = np.ones_like(inputs)
        event = QueryEvent(
            id=str(offset),
            account="a",
            model="m",
            time=offset * 1000,
            inputs=Tensor.from_array(inputs),
            labels=[0] * len(inputs),
        )
        arrivals.append(Arrival(event, Source("queries", 0, offset)))
    return arrivals


TRAFFIC = traffic()


def run(
    engine: Engine, arrivals: list[Arrival], cuts: list[int]
) -> tuple[list[Verdict], list[Any]]:
    """Process the arrivals cut at these places; give verdicts, and what novelty says."""
    verdicts, statistics = [], []
    for begin, end in pairwise([0, *sorted(cuts), len(arrivals)]):
        for outcome in engine.process(arrivals[begin:end]):
            verdicts += outcome.verdicts
            statistics += outcome.statistics["novelty"].tolist()
    return verdicts, statistics


WHOLE = run(Engine(profile()), TRAFFIC, [])


def test_only_those_that_nobody_reads_are_judged() -> None:
    """What is read has no threshold, also where it has one of its own, and needs none."""
    chosen = profile()
    assert chosen.read == {"prada", "spacing"}
    assert [each.detector for each in chosen.judged] == ["novelty", "steps"]
    assert [each.threshold for each in chosen.detectors[1:3]] == [None, None]
    assert check_thresholds(chosen) is chosen
    assert {each.detector for each in WHOLE[0]} == {"novelty"}


def test_it_is_told_what_the_others_say_of_the_same_query() -> None:
    """Its evidence has the statistics that its detectors had after that query."""
    [verdict] = [each for each in WHOLE[0] if each.activity == "create"]
    found: dict[str, list[float]] = {"prada": [], "spacing": []}
    for outcome in Engine(profile()).process(TRAFFIC):
        for name, values in found.items():
            values += outcome.statistics[name].tolist()
    for name, values in found.items():
        said = [each for each in values[: verdict.query + 1] if not np.isnan(each)]
        assert verdict.evidence["statistics"][name] == (said[-1] if said else None)


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, len(TRAFFIC)), max_size=30))
def test_any_batching_gives_the_same(cuts: list[int]) -> None:
    """Verdicts and statistics, bit for bit."""
    verdicts, statistics = run(Engine(profile()), TRAFFIC, cuts)
    assert verdicts == WHOLE[0]
    np.testing.assert_array_equal(statistics, WHOLE[1])


@pytest.mark.parametrize("stop", [1, 40, 80, 120])
def test_a_restored_account_goes_on_exactly(stop: int) -> None:
    """What the others said last is kept, so that a repeat that follows is judged by it."""
    engine = Engine(profile())
    before, _ = run(engine, TRAFFIC[:stop], [])
    account = engine.accounts["a", "m"]
    segments: list[tuple[str, Segment]] = account.drain()
    restored = Engine(profile())
    restored.accounts["a", "m"] = Account(profile())
    restored.accounts["a", "m"].load(account.header(), segments)
    after, statistics = run(restored, TRAFFIC[stop:], [])
    assert before + after == WHOLE[0]
    np.testing.assert_array_equal(statistics, WHOLE[1][-len(statistics) :])


def test_closing_its_finding_lets_what_it_reads_begin_anew() -> None:
    """Else the next query would open it again: the others' windows still hold what was closed."""
    engine = Engine(profile())
    verdicts, _ = run(engine, TRAFFIC, [])
    finding = verdicts[-1].finding
    order = CloseOrder(account="a", model="m", finding=finding, time=9, note="our own test")
    [closed] = [each.verdicts for each in engine.process([Arrival(order, Source("q", 0, 999))])]
    assert [each.reason for each in closed] == ["analyst"]
    again, statistics = run(engine, TRAFFIC[-5:], [])
    assert again == []
    assert np.isnan(statistics).all()  # PRADA and spacing count from 0 again


def test_accounts_keep_no_long_option() -> None:
    """Each account's row names its options; habits are thousands of characters."""
    points = ";".join(f"{x / 100},{x / 50}" for x in range(500))
    long = "prada,spacing;0,0;1,1;" + points
    one, other = (
        profile(
            detectors=(
                DetectorProfile(detector="novelty", options={"habits": text}, threshold=1.0),
                *profile().detectors[1:],
            )
        )
        for text in (long, long + ";9,9")
    )
    setups = [each.setup(each.detectors[0]) for each in (one, other)]
    assert all(len(setup) < 100 for setup in setups)
    assert setups[0] != setups[1]


def test_what_is_read_has_to_be_there() -> None:
    """The message names it."""
    with pytest.raises(ProfileError, match="lacks what one of its detectors reads: spacing"):
        profile(detectors=profile().detectors[:2])


def test_what_alarms_reset_cannot_be_read() -> None:
    """Under `reset`, what the others said would be gone."""
    with pytest.raises(ProfileError, match=r"use policy\.mode=latch"):
        profile(policy=Policy(mode="reset"))


def test_a_threshold_that_is_given_judges_what_is_read_too() -> None:
    """Whoever sets one wants it."""
    chosen = profile()
    prada = msgspec.structs.replace(chosen.detectors[1], threshold=0.5)
    changed = profile(detectors=(chosen.detectors[0], prada, *chosen.detectors[2:]))
    assert [each.detector for each in changed.judged] == ["novelty", "prada", "steps"]
