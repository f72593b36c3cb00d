"""Which engine judges an event, and which engines are kept."""

from __future__ import annotations

import msgspec
import pytest

from gamekeeper.detectors.engine import Engine, Profile, Source, default_profile
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.opening import Item, Records
from gamekeeper.stream.worker.rulings import Point, Rulings
from gamekeeper.stream.worker.shares import Reading, Shares
from support.account_rows import arrivals


def named(name: str) -> Profile:
    """Make a profile that differs by its name."""
    return msgspec.structs.replace(default_profile(), name=name)


PROFILES = {name: named(name) for name in "abc"}


@pytest.fixture
def engines() -> Engines:
    """Engines of three profiles, of which two rule partition 0 by turns: b up to 5, a up to 9."""
    engines = Engines(Engine(PROFILES["a"]))
    for name in "bc":
        engines.add(PROFILES[name].hash, Engine(PROFILES[name]))
    places = ((-1, "b"), (5, "a"), (9, "b"))
    points = tuple(Point(offset, PROFILES[name].hash) for offset, name in places)
    engines.rulings[0] = Rulings(0, points)
    return engines


def judge(engines: Engines, offset: int, partition: int = 0) -> str:
    """Name the profile that rules an event."""
    return engines.of(Source("queries", partition, offset)).profile.name


def test_an_event_is_judged_by_what_rules_its_offset(engines: Engines) -> None:
    """And by the worker's own where nothing is noted; accounts are those of all engines."""
    assert [judge(engines, offset) for offset in (0, 6, 10)] == ["b", "a", "b"]
    assert judge(engines, 0, partition=1) == "a"
    [first, *_] = arrivals(1)
    engines.of(first.source).process([first])
    assert list(engines.accounts) == [(first.event.account, first.event.model)]


def test_engines_are_kept_for_as_long_as_they_rule_something(engines: Engines) -> None:
    """What rules nothing from the committed offset on is dropped; the worker's own stays."""
    engines.forget({0: 3})
    assert PROFILES["b"].hash in engines
    assert PROFILES["c"].hash not in engines
    assert [judge(engines, offset) for offset in (3, 6, 10)] == ["b", "a", "b"]
    engines.rulings[0] = engines.rulings[0].take(20, PROFILES["a"].hash)
    engines.forget({0: 21})
    assert PROFILES["b"].hash not in engines
    assert judge(engines, 21) == "a"
    engines.rulings.clear()
    engines.forget({})
    assert judge(engines, 0) == "a"


def test_a_profile_that_is_not_here_is_missed(engines: Engines) -> None:
    """It is named until its engine comes."""
    unknown = named("d")
    engines.rulings[1] = Rulings(0, (Point(-1, unknown.hash),))
    assert engines.missing() == {unknown.hash}
    engines.add(unknown.hash, Engine(unknown))
    assert not engines.missing()


class Event:
    """As much of a Faust event as matters."""

    def __init__(self, key: bytes, offset: int, partition: int = 0) -> None:
        """Place it."""
        self.key, self.offset, self.partition = key, offset, partition
        self.value = b"x"
        self.message = self


def test_no_account_is_scored_under_two_profiles_at_a_time(engines: Engines) -> None:
    """There and back, too: its events keep their order, and others do not wait for it."""
    events = [Event(b"x", 3), Event(b"x", 6), Event(b"y", 7), Event(b"x", 10), Event(b"y", 11)]
    shares = Shares(lambda event: Reading(event, Item(event, arrivals(1)[0]), 1), engines.home)
    for event in events:
        shares.put(event)
    for offsets in ([3, 7], [6, 11], [10]):
        turn = shares.take()
        assert isinstance(turn, Records)
        assert [event.offset for event in turn.events] == offsets
