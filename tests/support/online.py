"""What a running worker says, and what the engine says offline of the same events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.engine import Account, Arrival, Engine, Key, Profile, Source
from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.event import QueryEvent, decode_event
from gamekeeper.schemas.order import decode_profile_order, is_profile_order
from gamekeeper.schemas.verdict import decode_verdict, encode_verdict
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.profile_files import load_profile
from support.brokers import Broker, Names
from support.crashing import PROFILE
from support.workers import environ_for, read


def alarming(broker: Broker, names: Names, folder: Path) -> dict[str, str]:
    """Give a worker's environment with the test's own topics, and a profile that alarms often."""
    profile = folder / "profile.json"
    profile.write_text(json.dumps(PROFILE))
    environ = environ_for(broker.address, names.environ, folder / "data")
    return {**environ, "GAMEKEEPER_PROFILE": str(profile)}


def engine_of(settings: Settings) -> Engine:
    """Make an engine of the worker's profile."""
    return Engine(load_profile(Path(settings.profile)))


def expected(settings: Settings, engine: Engine | None = None) -> dict[str, bytes]:
    """Score what lies on the queries topic offline: verdict id to what must be on the topic."""
    engine = engine or engine_of(settings)
    verdicts: dict[str, bytes] = {}
    for record in read(settings, settings.topics.queries):
        source = Source(record.topic, record.partition, record.offset)
        try:
            event = decode_event(record.value or b"")
        except SchemaError:
            continue
        for outcome in engine.process([Arrival(event, source)]):
            verdicts.update({each.id: encode_verdict(each) for each in outcome.verdicts})
    return verdicts


def found(settings: Settings) -> dict[str, bytes]:
    """Read the verdicts topic: id to what is there."""
    records = read(settings, settings.topics.verdicts)
    return {decode_verdict(each.value).id: each.value for each in records}


def expected_under(
    settings: Settings, first: Profile, later: Iterable[Profile]
) -> dict[str, bytes]:
    """Score the queries topic offline, each partition by `first` until an order names another.

    An order that names none of these changes nothing.
    """
    profiles = {each.hash: each for each in (first, *later)}
    ruling: dict[int, Profile] = {}
    lives: dict[tuple[int, Key], Offline] = {}
    verdicts: dict[str, bytes] = {}
    for record in read(settings, settings.topics.queries):
        if is_profile_order(record.value):
            order = decode_profile_order(record.value)
            if order.app == settings.app_id and order.profile in profiles:
                ruling[record.partition] = profiles[order.profile]
            continue
        event = decode_event(record.value)
        arrival = Arrival(event, Source(record.topic, record.partition, record.offset))
        key = event.account, event.model
        life = lives.setdefault((record.partition, key), Offline())
        verdicts |= life.take(arrival, ruling.get(record.partition, first))
    return verdicts


class Offline:
    """One account, kept in memory, under profiles that change."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._profile: Profile | None = None
        self._account: Account | None = None
        self._segments: list[tuple[str, Segment]] = []

    def take(self, arrival: Arrival, profile: Profile) -> dict[str, bytes]:
        """Take an event under a profile; give the verdicts by id."""
        if self._profile is None or self._profile.hash != profile.hash:
            self._account = self._under(profile)
            self._profile = profile
        assert self._account is not None
        assert isinstance(arrival.event, QueryEvent)
        engine = Engine(profile)
        engine.accounts[arrival.event.account, arrival.event.model] = self._account
        [outcome] = engine.process([arrival])
        return {each.id: encode_verdict(each) for each in outcome.verdicts}

    def _under(self, profile: Profile) -> Account:
        """Save the account, and restore it under another profile."""
        again = Account(profile)
        if self._account is None or self._profile is None:
            return again
        self._segments += self._account.drain()
        same = self._setups(self._profile) & self._setups(profile)
        kept, forgotten = {name for name, _ in same}, self._account.horizon()
        self._segments = [
            (name, each)
            for name, each in self._segments
            if name in kept and each.end > forgotten.get((name, each.log), 0)
        ]
        again.load(self._account.header(), self._segments)
        return again

    @staticmethod
    def _setups(profile: Profile) -> set[tuple[str, str]]:
        return {(each.detector, profile.setup(each)) for each in profile.detectors}
