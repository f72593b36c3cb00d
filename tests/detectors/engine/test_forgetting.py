"""An account that is silent for long enough begins anew, however its queries are batched."""

from __future__ import annotations

from collections.abc import Iterable

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
    Outcome,
    Policy,
    Profile,
    Source,
    default_profile,
    forgotten,
    resolve,
    seen,
)
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import encode_verdict
from support.toys import Echo

DAY = 24 * 3600 * 10**6
START = 10_000 * DAY


@pytest.fixture(autouse=True, scope="module")
def toys() -> Iterable[None]:
    """Let profiles name the toy."""
    DETECTORS["echo"] = Echo
    yield
    del DETECTORS["echo"]


def profile(days: float | None = 10.0) -> Profile:
    """Make a profile of a toy and a detector with logs, which forgets after so many days."""
    detectors = (
        DetectorProfile(detector="echo", options={"warm": 0}, threshold=0.5),
        DetectorProfile(detector="prada-v1", options={"growths": 16}, threshold=0.01),
    )
    seconds = None if days is None else days * DAY / 10**6
    policy = Policy(close_after=5 * DAY / 10**6, forget_after=seconds)
    return resolve(Profile(name="forgetting", detectors=detectors, policy=policy))


def arrivals(steps: list[tuple[int, float]], size: int = 2) -> list[Arrival]:
    """Make events so many days apart; the second number is what the toy says of their rows."""
    times = START + np.cumsum([int(days * DAY) for days, _ in steps])
    return [
        Arrival(
            QueryEvent(
                id=str(offset),
                account="ada",
                model="digits",
                time=int(time),
                inputs=Tensor.from_array(np.full((size, 2), value + 0.001 * offset, np.float64)),
                labels=[0] * size,
            ),
            Source("queries", 0, offset),
        )
        for offset, (time, (_, value)) in enumerate(zip(times, steps, strict=True))
    ]


def told(outcomes: Iterable[Outcome]) -> list[tuple[int, str, list[bytes]]]:
    """Reduce outcomes to what must not differ."""
    return [
        (each.first, str(each.statistics), [encode_verdict(verdict) for verdict in each.verdicts])
        for each in outcomes
    ]


def by_hand(events: list[Arrival], days: float) -> list[tuple[int, str, list[bytes]]]:
    """Take events one by one, and a new engine after each silence without an open finding."""
    engine, latest, found = Engine(profile(None)), 0, []
    hashed = profile(days).hash
    for each in events:
        account = engine.accounts.get(("ada", "digits"))
        if account and each.event.time - latest > days * DAY and not account.open():
            engine = Engine(profile(None))
        # Ids hold the profile's hash, which is another where nothing is forgotten.
        engine.profile.__dict__["hash"] = hashed
        latest = max(latest, each.event.time)
        found += engine.process([each])
    return told(found)


steps = st.lists(
    st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 9.9, 10.5, 30.0]), st.sampled_from([0.0, 0.0, 1.0])),
    min_size=1,
    max_size=12,
)


@given(steps, st.lists(st.integers(1, 5), max_size=6))
def test_silence_makes_a_new_account_in_any_batching(
    steps: list[tuple[float, float]], sizes: list[int]
) -> None:
    """Where no finding is open; late events are no silence."""
    events = arrivals(steps)
    engine, found, rest = Engine(profile()), [], events
    for size in [*sizes, len(events)]:
        found += engine.process(rest[:size]) if rest[:size] else []
        rest = rest[size:]
    assert told(found) == by_hand(events, 10.0)


def test_nothing_is_forgotten_where_the_policy_says_so() -> None:
    """`forget_after` null: numbers go on after any silence."""
    outcomes = Engine(profile(None)).process(arrivals([(0, 0), (5000, 0)]))
    assert [each.first for each in outcomes] == [0, 2]
    outcomes = Engine(profile()).process(arrivals([(0, 0), (5000, 0)]))
    assert [each.first for each in outcomes] == [0, 0]


def test_state_of_builds_that_noted_no_time_is_remembered() -> None:
    """Its next query tells the time; nothing is forgotten before it."""
    engine = Engine(profile())
    engine.process(arrivals([(0, 0)]))
    *fields, last_time = msgspec.msgpack.decode(engine.accounts["ada", "digits"].header())[:5]
    assert last_time == START
    older = Account(profile())
    older.load(msgspec.msgpack.encode(fields), engine.accounts["ada", "digits"].drain())
    again = Engine(profile())
    again.accounts["ada", "digits"] = older
    outcomes = again.process(arrivals([(5000, 0)]))
    assert [each.first for each in outcomes] == [2]
    assert older.last_time == START + 5000 * DAY


def test_what_a_header_tells() -> None:
    """When the account was seen last, and whether a finding is open; once forgotten, only when."""
    engine = Engine(profile())
    engine.process(arrivals([(0, 0)]))
    header = engine.accounts["ada", "digits"].header()
    assert seen(header) == (START, False)
    engine.process(arrivals([(0, 1.0)]))
    header = engine.accounts["ada", "digits"].header()
    assert seen(header) == (START, True)
    assert seen(forgotten(header)) == (START, False)
    anew = Account(profile())
    anew.load(forgotten(header), [])
    assert (anew.queries, anew.open()) == (0, [])


def test_profiles_of_before_keep_their_hashes() -> None:
    """The default is as if it were not there; any other value is another profile."""
    assert default_profile().hash == "0eceb0d1534ec171"
    changed = msgspec.structs.replace(default_profile(), policy=Policy(forget_after=None))
    assert changed.hash != default_profile().hash


@pytest.mark.parametrize("seconds", [-1.0, 60.0, float("inf")])
def test_a_pause_that_a_thief_would_make_is_refused(seconds: float) -> None:
    """Less than a day is no long silence."""
    wrong = msgspec.structs.replace(profile(), policy=Policy(forget_after=seconds))
    with pytest.raises(ProfileError, match="give 86400 seconds or more"):
        resolve(wrong)
