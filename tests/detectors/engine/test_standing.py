"""An account's standing over several detectors and over a change of profile."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import (
    Account,
    Arrival,
    DetectorProfile,
    Engine,
    Policy,
    Profile,
    Source,
    resolve,
)
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Disposition, Verdict, decode_verdict, encode_verdict
from support.toys import Echo, Echo2

# Each row is a query: what the two detectors say of it. Both alarm above 0.5.
ROWS = [(0, 0), (1, 0), (0, 0), (0, 1), (3, 1), (0, 0), (0, 0), (1, 1), (0, 9)]


@pytest.fixture(autouse=True, scope="module")
def toys() -> Iterable[None]:
    """Let profiles name the toys."""
    DETECTORS.update({"echo": Echo, "echo-2": Echo2})
    yield
    del DETECTORS["echo"], DETECTORS["echo-2"]


def profile(policy: Policy = Policy(), name: str = "two", threshold: float = 0.5) -> Profile:  # noqa: B008
    """Make a profile of both toys."""
    detectors = tuple(
        DetectorProfile(detector=each, options={"warm": 0}, threshold=threshold)
        for each in ("echo", "echo-2")
    )
    return resolve(Profile(name=name, detectors=detectors, policy=policy))


def arrivals(rows: list[tuple[int, int]], start: int = 0) -> list[Arrival]:
    """Make one event per row, a second apart."""
    return [
        Arrival(
            QueryEvent(
                id=str(offset),
                account="ada",
                model="digits",
                time=offset * 1_000_000,
                inputs=Tensor.from_array(np.array([row], np.float64)),
                labels=[0],
            ),
            Source("queries", 0, offset),
        )
        for offset, row in enumerate(rows, start)
    ]


def run(engine: Engine, events: list[Arrival]) -> list[Verdict]:
    """Process and collect."""
    return [verdict for outcome in engine.process(events) for verdict in outcome.verdicts]


def told(verdicts: list[Verdict]) -> list[tuple[int, str, str, tuple[str, ...]]]:
    """Reduce verdicts to what the tests look at."""
    return [(each.query, each.detector, each.activity, each.agreeing) for each in verdicts]


def test_verdicts_name_the_detectors_that_agree_after_the_query():
    """With a latch a finding counts until it is closed; what alarms at the same query counts."""
    both = ("echo", "echo-2")
    assert told(run(Engine(profile()), arrivals(ROWS))) == [
        (1, "echo", "create", ("echo",)),
        (3, "echo-2", "create", both),
        (4, "echo", "update", both),
        (8, "echo-2", "update", both),
    ]


def test_a_finding_that_expired_no_longer_agrees():
    """After the quiet time each detector stands alone again."""
    expiring = profile(Policy(close_after=1.5))
    verdicts = told(run(Engine(expiring), arrivals([(1, 0), (0, 0), (0, 1), (0, 0)])))
    assert verdicts == [
        (0, "echo", "create", ("echo",)),
        (2, "echo", "close", ("echo-2",)),
        (2, "echo-2", "create", ("echo-2",)),
    ]


def test_where_alarms_reset_only_those_of_the_same_query_agree():
    """A finding of the reset policy lasts no longer than its query."""
    verdicts = told(run(Engine(profile(Policy(mode="reset"))), arrivals(ROWS)))
    assert [(query, name, agreeing) for query, name, _, agreeing in verdicts] == [
        (1, "echo", ("echo",)),
        (3, "echo-2", ("echo-2",)),
        (4, "echo", ("echo", "echo-2")),
        (4, "echo-2", ("echo", "echo-2")),
        (7, "echo", ("echo", "echo-2")),
        (7, "echo-2", ("echo", "echo-2")),
        (8, "echo-2", ("echo-2",)),
    ]


@given(
    cuts=st.lists(st.integers(0, len(ROWS)), max_size=4), mode=st.sampled_from(["latch", "reset"])
)
def test_batches_do_not_change_who_agrees(cuts: list[int], mode: str):
    """Any batching gives the same verdicts."""
    chosen = profile(msgspec.convert({"mode": mode}, Policy))
    whole, engine = run(Engine(chosen), arrivals(ROWS)), Engine(chosen)
    parts: list[Verdict] = []
    for begin, end in pairwise([0, *sorted(cuts), len(ROWS)]):
        parts += run(engine, arrivals(ROWS)[begin:end])
    assert sorted(parts, key=lambda each: each.id) == sorted(whole, key=lambda each: each.id)


def restored(engine: Engine, other: Profile) -> Engine:
    """Restore the account from its header into an engine with another profile."""
    again = Engine(other)
    again.accounts["ada", "digits"] = Account(other)
    again.accounts["ada", "digits"].load(engine.accounts["ada", "digits"].header(), [])
    return again


def test_another_profile_goes_on_with_the_findings_of_detectors_that_it_leaves_as_they_are():
    """Another threshold, too: the finding stands, and its next verdict is the new profile's."""
    old, new = profile(), profile(name="new", threshold=0.7)
    engine = Engine(old)
    [opened] = run(engine, arrivals([(1, 0), (0, 0)]))
    again = restored(engine, new)
    assert run(again, arrivals([(0, 0), (1, 0)], start=2)) == []
    [escalated] = run(again, arrivals([(3, 0)], start=4))
    assert (escalated.activity, escalated.finding) == ("update", opened.finding)
    assert (escalated.profile, escalated.threshold) == (new.hash, 0.7)
    assert (escalated.queries, escalated.first_time) == (5, 0)
    order = CloseOrder(account="ada", model="digits", finding=opened.finding, time=9)
    [closed] = run(again, [Arrival(order, Source("queries", 0, 5))])
    assert (closed.profile, closed.finding) == (new.hash, opened.finding)
    assert len({opened.id, escalated.id, closed.id}) == 3


@pytest.mark.parametrize("hashes", ["ab", "aba", "abab"])
def test_profiles_that_take_turns_open_nothing_again(hashes: str):
    """However often the profile changes, an episode is one finding."""
    turns = {"a": profile(), "b": profile(name="new", threshold=0.7)}
    engine = Engine(turns["a"])
    verdicts = run(engine, arrivals([(1, 1)]))
    for start, each in enumerate(hashes, 1):
        engine = restored(engine, turns[each])
        verdicts += run(engine, arrivals([(1, 1)], start=start))
    assert [each.activity for each in verdicts] == ["create", "create"]


def test_a_detector_with_other_options_has_its_finding_closed_and_opens_its_own():
    """It begins anew and knows nothing of the other's; the account's queries are counted on."""
    old = profile()
    other = DetectorProfile(detector="echo", options={"warm": 1}, threshold=0.5)
    new = msgspec.structs.replace(old, detectors=(other, old.detectors[1]))
    engine = Engine(old)
    opened, kept = run(engine, arrivals([(1, 1), (0, 0)]))
    again = restored(engine, new)
    [closed] = run(again, arrivals([(1, 1)], start=2))
    assert (closed.activity, closed.reason, closed.finding) == ("close", "profile", opened.finding)
    assert (closed.profile, closed.threshold, closed.statistic) == (old.hash, 0.5, 1.0)
    assert closed.evidence == {"profile": new.hash}
    assert (closed.queries, closed.agreeing) == (2, ("echo-2",))
    [reopened] = run(again, arrivals([(1, 1)], start=3))
    assert (reopened.profile, reopened.queries) == (new.hash, 4)
    assert reopened.finding not in (opened.finding, kept.finding)
    assert len({opened.id, closed.id, reopened.id}) == 3


def test_a_profile_whose_alarms_reset_takes_no_finding_over():
    """There a finding lasts no longer than its query: one that stood would hide the next ones."""
    engine = Engine(profile())
    [opened] = run(engine, arrivals([(1, 0)]))
    again = restored(engine, profile(Policy(mode="reset")))
    closed, reopened = run(again, arrivals([(1, 0)], start=1))
    assert (closed.reason, closed.finding) == ("profile", opened.finding)
    assert reopened.activity == "create"


def test_a_header_of_an_earlier_build_is_carried_over_too():
    """What was stored before findings were carried over names its setups, and is read as it is."""
    old, new = profile(), profile(name="new", threshold=0.7)
    setup = old.setup(old.detectors[0])
    standing = ["0b5e", 1.0, 1, 0, old.hash, 0.5]
    parts = {name: [setup, b"", standing] for name in ("echo", "echo-2")}
    again = Engine(new)
    again.accounts["ada", "digits"] = Account(new)
    again.accounts["ada", "digits"].load(msgspec.msgpack.encode([1, 7, 0, parts]), [])
    verdicts = run(again, arrivals([(3, 0)], start=7))
    assert [(each.activity, each.finding, each.query) for each in verdicts] == [
        ("update", "0b5e", 7)
    ]


def test_the_same_profile_goes_on_with_its_findings():
    """A restart is no change of profile."""
    engine = Engine(profile())
    run(engine, arrivals([(1, 0)]))
    assert run(restored(engine, profile()), arrivals([(0, 0)], start=1)) == []


def test_a_detector_that_the_new_profile_lacks_has_its_finding_closed():
    """Nobody could close it later; an order that comes first makes no difference."""
    engine = Engine(profile())
    [opened] = run(engine, arrivals([(0, 1)]))
    one = resolve(msgspec.structs.replace(profile(), detectors=profile().detectors[:1]))
    order = CloseOrder(account="ada", model="digits", finding="another", time=1)
    again = restored(engine, one)
    [closed] = run(again, [Arrival(order, Source("queries", 0, 1))])
    assert (closed.detector, closed.finding, closed.reason) == ("echo-2", opened.finding, "profile")
    assert run(again, arrivals([(0, 9)], start=2)) == []


def test_ids_of_a_second_life_are_its_own_and_those_of_a_replay_the_same():
    """An account that begins anew alarms under new ids, also at a query of the same number."""
    first, second = arrivals([(0, 0), (1, 0)]), arrivals([(0, 0), (1, 0)], start=7)
    [one], [other] = run(Engine(profile()), first), run(Engine(profile()), second)
    assert (one.query, other.query) == (1, 1)
    assert one.id != other.id
    assert one.finding != other.finding
    engine = Engine(profile())
    begun = run(engine, second[:1])
    assert begun + run(restored(engine, profile()), second[1:]) == [other]


def test_an_order_closes_the_finding_of_the_life_that_it_names():
    """What an analyst decided of an earlier life's finding leaves a later life's open."""
    [earlier] = run(Engine(profile()), arrivals([(1, 0)]))
    engine = Engine(profile())
    [later] = run(engine, arrivals([(1, 0)], start=7))
    stale, order = (
        CloseOrder(account="ada", model="digits", finding=each.finding, time=9)
        for each in (earlier, later)
    )
    assert run(engine, [Arrival(stale, Source("queries", 0, 8))]) == []
    [closed] = run(engine, [Arrival(order, Source("queries", 0, 9))])
    assert (closed.activity, closed.finding) == ("close", later.finding)


@pytest.mark.parametrize("disposition", [*get_args(Disposition), ""])
def test_whatever_a_finding_was_its_detector_begins_anew(disposition: Disposition):
    """The verdict that closes has the word, and the next alarm is a finding of its own."""
    engine = Engine(profile())
    [opened] = run(engine, arrivals([(1, 0)]))
    order = CloseOrder(
        account="ada",
        model="digits",
        finding=opened.finding,
        time=9,
        analyst="kim",
        note="our own test",
        disposition=disposition,
    )
    [closed] = run(engine, [Arrival(order, Source("queries", 0, 1))])
    assert closed.disposition == (disposition or None)
    assert closed.evidence == {"analyst": "kim", "note": "our own test"}
    assert decode_verdict(encode_verdict(closed)).disposition == closed.disposition
    [again] = run(engine, arrivals([(1, 0)], start=2))
    assert (again.activity, again.disposition) == ("create", None)
    assert again.finding != opened.finding
