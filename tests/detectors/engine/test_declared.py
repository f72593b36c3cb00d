"""Declared habits hold findings at low within their bounds, in any batching, and no further."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import (
    Account,
    Arrival,
    DeclaredHabit,
    DetectorProfile,
    Engine,
    Policy,
    Profile,
    Source,
    resolve,
    seen,
)
from gamekeeper.detectors.engine.declared import DAY, DAYS, NAME
from gamekeeper.detectors.engine.habits import EXPLAINS
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.ocsf import to_ocsf
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Disposition, Verdict, decode_verdict, encode_verdict
from support.toys import Echo

KEY = ("ada", "digits")
NOON = DAY // 2
UNTIL = "1970-01-31"  # the events' clocks begin in 1970


def toy(named: str, of: str, repeats: int = 0) -> type[Echo]:
    """Make a toy whose evidence is of a kind, given no query twice if it is told so."""
    return type(named, (Echo,), {"name": named, "kind": of, "distinct": repeats})


TOYS = {
    "thefts": toy("thefts", "theft"),
    "variants": toy("variants", "variants"),
    "distinct": toy("distinct", "variants", 5),
    "strange": toy("strange", "other data"),
    "loads": toy("loads", "load"),
}


@pytest.fixture(autouse=True, scope="module")
def toys() -> Iterable[None]:
    """Let profiles name the toys."""
    DETECTORS.update(TOYS)
    yield
    for name in TOYS:
        del DETECTORS[name]


def declared(habit: str = "explainer", **terms: Any) -> DeclaredHabit:
    """Declare what ada does."""
    known = {"account": "ada", "owner": "Kim", "until": UNTIL, "budget": 100}
    return DeclaredHabit(habit=habit, **known | terms)


def profile(
    *habits: DeclaredHabit, detectors: Sequence[str] = ("variants",), **policy: Any
) -> Profile:
    """Make a profile of toys that alarm above 0.5."""
    made = tuple(DetectorProfile(detector=each, options={"warm": 0}) for each in detectors)
    return resolve(Profile(name="toys", detectors=made, habits=habits, policy=Policy(**policy)))


def arrivals(
    values: Sequence[float], *, start: int = 0, size: int = 1, times: Sequence[int] | None = None
) -> list[Arrival]:
    """Make events of so many queries, a second apart at noon of the first day, or at `times`."""
    found = []
    for number, first in enumerate(range(0, len(values), size)):
        inputs = np.array(values[first : first + size], np.float64)[:, None]
        offset = start + number
        event = QueryEvent(
            id=str(offset),
            account=KEY[0],
            model=KEY[1],
            time=times[number] if times else NOON + offset * 1_000_000,
            inputs=Tensor.from_array(inputs),
            labels=[0] * len(inputs),
        )
        found.append(Arrival(event, Source("queries", 0, offset)))
    return found


def run(engine: Engine, events: Sequence[Arrival]) -> list[Verdict]:
    """Process and collect."""
    return [each for outcome in engine.process(events) for each in outcome.verdicts]


def told(verdicts: Sequence[Verdict]) -> list[tuple[int, str, str, str]]:
    """Reduce verdicts to what most tests look at."""
    return [(each.query, each.detector, each.activity, each.severity) for each in verdicts]


def under(engine: Engine, other: Profile) -> Engine:
    """Restore the account from its header into an engine with another profile."""
    again = Engine(other)
    again.accounts[KEY] = Account(other)
    again.accounts[KEY].load(engine.accounts[KEY].header(), [])
    return again


@pytest.mark.parametrize("name", ["thefts", "variants", "strange", "loads"])
@pytest.mark.parametrize("habit", EXPLAINS)
def test_a_habit_lowers_what_it_explains_and_nothing_else(habit: str, name: str) -> None:
    """Theft never; what is high or critical otherwise is low where the habit explains it."""
    made = profile(declared(habit), detectors=[name])
    [opened] = run(Engine(made), arrivals([3.0]))
    plain = "critical" if name == "thefts" else "high"
    assert opened.severity == ("low" if TOYS[name].kind in EXPLAINS[habit] else plain)
    other = declared(habit, account="eve")
    [undeclared] = run(Engine(profile(other, detectors=[name])), arrivals([3.0]))
    assert undeclared.severity == plain
    assert NAME not in undeclared.evidence


def test_the_verdict_says_by_whose_word_it_is_low() -> None:
    """Owner, expiry, what is left of the day, and what it would be; in words and to a SIEM."""
    engine = Engine(profile(declared(budget=1000)))
    opened, more = run(engine, arrivals([0.0, 0.7, 0.7, 9.0]))
    assert told([opened, more]) == [
        (1, "variants", "create", "low"),
        (3, "variants", "update", "low"),
    ]
    assert opened.evidence[NAME] == {
        "habit": "explainer",
        "owner": "Kim",
        "until": UNTIL,
        "budget": 1000,
        "left": 998,
        "otherwise": "medium",
    }
    assert more.evidence[NAME]["otherwise"] == "high"
    assert to_ocsf(opened)["severity"] == "Low"
    assert (
        "It is held at low, otherwise high: Kim has declared the account an explainer until "
        in (to_ocsf(more)["message"])
    )
    assert "996 of 1,000 queries are left that day." in more.summary
    assert encode_verdict(decode_verdict(encode_verdict(more))) == encode_verdict(more)


def test_more_queries_than_declared_end_it_and_are_a_finding() -> None:
    """Once: what was withheld is said at that query, and from there on nothing is lowered."""
    made = profile(declared(budget=3), detectors=("thefts", "variants", "strange"))
    engine = Engine(made)
    found = run(engine, arrivals([0.0, 0.7, 1.2, 0.0, 0.0, 9.0]))
    assert [each for each in told(found) if each[1] in ("variants", NAME)] == [
        (1, "variants", "create", "low"),
        (2, "variants", "update", "low"),
        (3, "variants", "update", "high"),
        (3, NAME, "create", "medium"),
    ]
    released = next(each for each in found if each.query == 3 and each.detector == "variants")
    assert (released.reason, released.statistic) == ("escalation", 1.2)
    assert released.evidence[NAME]["ended"] == "budget"
    broken = next(each for each in found if each.detector == NAME)
    assert (broken.statistic, broken.threshold, broken.kind) == (4.0, 3.0, None)
    assert broken.evidence == {
        "habit": "explainer",
        "owner": "Kim",
        "until": UNTIL,
        "budget": 3,
        "broken": "budget",
        "day": "1970-01-01",
        "queries": 4,
    }
    assert broken.agreeing == (NAME, "strange", "thefts", "variants")
    order = CloseOrder(account="ada", model="digits", finding=released.finding, time=NOON)
    run(engine, [Arrival(order, Source("queries", 0, 6))])
    tomorrow = run(engine, arrivals([0.7], start=7, times=[NOON + DAY]))
    assert told(tomorrow) == [(6, "variants", "create", "medium")]


def test_days_are_counted_each_by_itself_also_late() -> None:
    """A budget is of a day of event time, and an event that comes late counts on its own."""
    twice = [0, 0, 1, 1, 2, 0, 1, 2, 0]
    engine = Engine(profile(declared(budget=3)))
    found = run(engine, arrivals([0.0] * 9, times=[day * DAY for day in twice]))
    assert told(found) == [(8, NAME, "create", "medium")]
    assert found[0].evidence["day"] == "1970-01-01"


def test_no_clock_empties_the_days() -> None:
    """One that runs far ahead takes a day's place; what is too old counts on the oldest."""
    ahead = [25, *range(DAYS + 4), 0, 0, 0]
    engine = Engine(profile(declared(budget=3)))
    found = run(engine, arrivals([0.0] * len(ahead), times=[day * DAY for day in ahead]))
    assert told(found) == [(len(ahead) - 1, NAME, "create", "medium")]
    state = engine.accounts[KEY].declared
    assert state
    assert state.days == {25: 1, 5: 4} | dict.fromkeys(range(6, DAYS + 4), 1)


def test_a_probe_that_varies_is_an_alarm() -> None:
    """No detector asks for repeats, nor alarms; its inputs may come again, also as minus zero."""
    engine = Engine(profile(declared("probe", inputs=2)))
    assert run(engine, arrivals([0.0, 0.1, -0.0, 0.1])) == []
    assert engine.accounts[KEY].repeats is None
    [broken] = run(under(engine, engine.profile), arrivals([0.1, 0.2, 0.3], start=4))
    assert told([broken]) == [(5, NAME, "create", "medium")]
    assert (broken.statistic, broken.threshold) == (3.0, 2.0)
    assert broken.evidence["broken"] == "inputs"
    assert "Kim declared the account a probe until" in broken.summary
    assert run(Engine(profile(declared("probe", inputs=3))), arrivals([0.0, 0.1, 0.2])) == []


def test_a_declaration_ends_by_the_events_clocks() -> None:
    """What came late is judged by its own time; nothing breaks a declaration that has ended."""
    ends = declared().ends
    engine = Engine(profile(declared(budget=4)))
    late = arrivals([0.7, 0.0, 0.0, 0.0, 0.0, 0.0], times=[ends - 1, ends, ends, ends, ends, ends])
    opened, released = run(engine, late)
    assert told([opened, released]) == [
        (0, "variants", "create", "low"),
        (1, "variants", "update", "medium"),
    ]
    assert released.evidence[NAME]["ended"] == "until"
    order = CloseOrder(account="ada", model="digits", finding=opened.finding, time=ends)
    run(engine, [Arrival(order, Source("queries", 0, 6))])
    [again] = run(engine, arrivals([0.7], start=7, times=[ends - 1]))
    assert again.severity == "low"
    probe = Engine(profile(declared("probe", inputs=1)))
    assert run(probe, arrivals([0.0, 0.1, 0.0], times=[ends - 1, ends, ends - 1])) == []


def test_a_repeat_that_ends_it_is_told_although_the_detector_is_not_given_it() -> None:
    """The verdict is of that query, with the statistic of the worst one before."""
    engine = Engine(profile(declared(budget=2), detectors=("distinct",)))
    found = run(engine, arrivals([0.7, 0.7, 0.7, 0.7, 3.0]))
    assert told(found) == [
        (0, "distinct", "create", "low"),
        (2, "distinct", "update", "medium"),
        (2, NAME, "create", "medium"),
        (4, "distinct", "update", "high"),
    ]
    assert list(found[1].evidence) == [NAME]
    assert found[1].statistic == 0.7
    assert found[3].evidence == {"row": "any", "repeats": 3}


def test_one_query_that_breaks_and_alarms_more_has_one_verdict() -> None:
    """Two of one id would be one for whoever reads them."""
    found = run(Engine(profile(declared(budget=1))), arrivals([0.7, 9.0]))
    assert told(found) == [
        (0, "variants", "create", "low"),
        (1, "variants", "update", "high"),
        (1, NAME, "create", "high"),  # twice as many as declared
    ]
    assert found[1].statistic == 9.0


def test_declaring_later_lowers_nothing_that_stands_and_closes_nothing() -> None:
    """A finding rises no further while the habit holds, and does when it is revoked."""
    engine = Engine(profile())
    [opened] = run(engine, arrivals([0.7]))
    engine = under(engine, profile(declared()))
    [more] = run(engine, arrivals([0.6, 3.0], start=1))
    assert (more.finding, more.severity, more.evidence[NAME]["otherwise"]) == (
        *(opened.finding, "medium", "high"),
    )
    assert "It is held at medium, otherwise high: Kim" in more.summary
    engine = under(engine, profile())
    [released] = run(engine, arrivals([0.0], start=3))
    assert (released.finding, released.severity) == (opened.finding, "high")
    assert released.evidence == {NAME: {"ended": "undeclared"}}
    assert engine.accounts[KEY].declared is None


def test_another_habit_explains_other_findings() -> None:
    """What the first explained is told as soon as it no longer does."""
    engine = Engine(profile(declared("explainer")))
    run(engine, arrivals([0.7]))
    [released] = run(under(engine, profile(declared("load test"))), arrivals([0.0], start=1))
    assert (released.severity, released.evidence[NAME]["ended"]) == ("medium", "undeclared")


@pytest.mark.parametrize("terms", [{"budget": 9}, {"owner": "Ann"}, None])
def test_what_is_broken_is_mended_by_declaring_anew(terms: dict[str, Any] | None) -> None:
    """It holds from then on, with all of the day's budget; another profile alone mends nothing."""
    engine = Engine(profile(declared(budget=2)))
    [broken] = run(engine, arrivals([0.0] * 3))
    assert seen(engine.accounts[KEY].header()).suspected
    same = msgspec.structs.replace(profile(declared(budget=2)), name="same")
    engine = under(engine, same)
    [variants] = run(engine, arrivals([0.7], start=3))
    assert told([variants]) == [(3, "variants", "create", "medium")]
    anew = profile(declared(**terms)) if terms else profile()
    closed, *rest = run(under(engine, anew), arrivals([0.0], start=4))
    assert (closed.finding, closed.activity, closed.reason) == (broken.finding, "close", "profile")
    assert closed.profile == same.hash
    assert rest == []
    if terms:
        order = CloseOrder(account="ada", model="digits", finding=variants.finding, time=9)
        mended = under(engine, anew)
        again = run(mended, [Arrival(order, Source("queries", 0, 4)), *arrivals([0.7], start=5)])
        assert told(again)[-1] == (4, "variants", "create", "low")


@pytest.mark.parametrize("disposition", ["true positive", "benign", ""])
def test_closing_the_finding_mends_nothing(disposition: Disposition) -> None:
    """It is not opened again either: once is enough, and what follows is graded as anybody's."""
    engine = Engine(profile(declared(budget=1)))
    [broken] = run(engine, arrivals([0.0] * 2))
    order = CloseOrder(
        account="ada", model="digits", finding=broken.finding, time=9, disposition=disposition
    )
    [closed] = run(engine, [Arrival(order, Source("queries", 0, 2))])
    assert (closed.finding, closed.disposition) == (broken.finding, disposition or None)
    later = run(engine, arrivals([0.0, 0.7], start=3))
    assert told(later) == [(3, "variants", "create", "medium")]


def test_policies_close_it_as_they_close_others() -> None:
    """By time where they say so; where alarms reset, it lasts no longer than its query."""
    closing = Engine(profile(declared(budget=2), close_after=1.5))
    assert told(run(closing, arrivals([0.0] * 6))) == [
        (2, NAME, "create", "medium"),
        (4, NAME, "close", "medium"),
    ]
    resetting = Engine(profile(declared(budget=2), mode="reset"))
    assert told(run(resetting, arrivals([0.7, 0.0, 0.0, 0.7]))) == [
        (0, "variants", "create", "low"),
        (2, NAME, "create", "medium"),
        (3, "variants", "create", "medium"),
    ]
    assert resetting.accounts[KEY].open() == []


def test_a_forgotten_account_has_broken_nothing() -> None:
    """One with the finding open is not forgotten."""
    long = declared(until="1971-01-01", budget=1)
    events = arrivals([0.0] * 3, times=[NOON, NOON, 100 * DAY])
    engine = Engine(profile(long))
    run(engine, events[:2])
    assert run(engine, events[2:]) == []
    assert engine.accounts[KEY].queries == 3
    engine = Engine(profile(long))
    [broken] = run(engine, events[:2])
    order = CloseOrder(account="ada", model="digits", finding=broken.finding, time=9)
    run(engine, [Arrival(order, Source("queries", 0, 2))])
    run(engine, events[2:])
    state = engine.accounts[KEY].declared
    assert state
    assert (state.broken, engine.accounts[KEY].queries) == ("", 1)


def test_headers_of_earlier_builds_are_read() -> None:
    """They know of no declaration, and standings withhold nothing."""
    engine = Engine(profile())
    run(engine, arrivals([0.7]))
    codec, queries, first, parts, last, repeats, _ = msgspec.msgpack.decode(
        engine.accounts[KEY].header()
    )
    for part in parts.values():
        part[2] = part[2][:6]
    made = profile(declared())
    again = Engine(made)
    again.accounts[KEY] = Account(made)
    header = msgspec.msgpack.encode([codec, queries, first, parts, last, repeats])
    again.accounts[KEY].load(header, [])
    [more] = run(again, arrivals([3.0], start=1))
    assert (more.severity, more.evidence[NAME]["otherwise"]) == ("medium", "high")


ends = declared().ends
steps = st.sampled_from([0, 0, 0, 1, DAY // 3, DAY, -DAY, 20 * DAY])


@pytest.mark.parametrize("mode", ["latch", "reset"])
@given(
    values=st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.6, 0.7, 1.1, 2.5]), min_size=1, max_size=40),
    moves=st.lists(steps, min_size=40, max_size=40),
    at=st.lists(st.integers(1, 39), max_size=6).map(lambda cuts: sorted({0, *cuts, 40})),
    size=st.integers(1, 4),
    habit=st.sampled_from(["probe", "explainer"]),
    budget=st.integers(1, 20),
    close_after=st.sampled_from([None, 2 * DAY / 1e6]),
)
def test_batching_and_restoring_change_nothing(
    mode: str,
    values: list[float],
    moves: list[int],
    at: list[int],
    size: int,
    habit: str,
    budget: int,
    close_after: float | None,
) -> None:
    """Verdicts are the same bytes, and ids of their own; events are sliced as well."""
    terms = declared(habit, budget=budget, inputs=2 if habit == "probe" else None)
    made = profile(
        terms, detectors=("loads", "distinct", "thefts"), mode=mode, close_after=close_after
    )
    times = [max(0, NOON + int(each)) for each in np.cumsum(moves)]
    events = arrivals(values, size=size, times=times)
    once = run(Engine(made), events)
    engine, found = Engine(made), list[Verdict]()
    sliced, apart = Engine(made), list[Verdict]()
    for start, end in pairwise(at):
        found += run(engine, events[start:end])
        if KEY in engine.accounts:
            before = engine.accounts[KEY]
            engine.accounts[KEY] = Account(made)
            engine.accounts[KEY].load(before.header(), [])
            engine.accounts[KEY].detectors = before.detectors  # toys keep no state
    for event in events:
        slices = sliced.slices(event)
        while slices.left:
            slices.step(1)
        apart += slices.outcome().verdicts
    bytes_of = [encode_verdict(each) for each in once]
    assert [encode_verdict(each) for each in found] == bytes_of
    assert [encode_verdict(each) for each in apart] == bytes_of
    assert len({each.id for each in once}) == len(once)
    assert sum(each.detector == NAME and each.activity == "create" for each in once) <= 1
    low = [each for each in once if each.detector == "thefts" and each.activity != "close"]
    assert all(each.severity != "low" for each in low)
    assert engine.accounts[KEY].header() == sliced.accounts[KEY].header()
