"""What a running worker says, and what the engine says offline of the same events."""

from __future__ import annotations

import json
from pathlib import Path

from gamekeeper.detectors.engine import Arrival, Engine, Source
from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.event import decode_event
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
