"""Profiles on their way through Kafka: published, announced, and fetched again.

A profile is published before anything names it: its networks, then itself, to the topic of
profiles. It is announced by an order in every partition of the queries topic, at whose place among
the queries all workers take it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from gamekeeper.detectors.base import Featurizer
from gamekeeper.detectors.engine import Engine, Profile, check_thresholds
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.order import ProfileOrder, encode_order
from gamekeeper.stream.kafka import (
    Settings,
    broker_errors,
    producer,
    read_contents,
    require_topic,
    write_contents,
)
from gamekeeper.stream.profile_files import load_networks, make_network, parse_profile, read_network

SECONDS = 15.0  # as long as any client here waits for a broker
ADVICE = "write it there with `gamekeeper profile announce FILE`"


class Place(NamedTuple):
    """Where an order lies; what follows it in its partition is judged by its profile."""

    partition: int
    offset: int


def announce(settings: Settings, profile: Profile, folder: Path) -> list[Place]:
    """Let all workers take a profile; its networks are in `folder`. Says where they do.

    The order in which partitions are told does not matter, and what was told already may be told
    again. Raises `ProfileError` where the profile is not usable, and `BrokerError`, after which
    some partitions may have been told: announce it again.
    """
    load_networks(check_thresholds(profile), folder)
    topic = settings.topics.queries
    require_topic(settings, topic)
    publish(settings, profile, folder)
    order = ProfileOrder(app=settings.app_id, profile=profile.hash, time=time.time_ns() // 1000)
    client = producer(settings)
    try:
        with broker_errors(settings.brokers, "announce the profile in", topic=topic):
            sent = [
                client.send(topic, value=encode_order(order), partition=partition)
                for partition in sorted(client.partitions_for(topic))
            ]
            done = [each.get(timeout=SECONDS) for each in sent]
    finally:
        client.close(timeout=1)
    return [Place(each.partition, each.offset) for each in done]


def publish(settings: Settings, profile: Profile, folder: Path) -> None:
    """Write a profile and its networks, which are in `folder`, to the topic of profiles.

    Raises `ProfileError` where a network is not there, and `BrokerError`.
    """
    contents = {ref.sha256: read_network(ref, folder) for ref in profile.networks}
    write_contents(settings, {**contents, profile.hash: profile.canonical})


def fetch(
    settings: Settings, hashes: Collection[str], networks: Mapping[str, Featurizer]
) -> dict[str, Engine | ProfileError]:
    """Make engines of published profiles, by their hashes; an error where one is not usable.

    `networks` are those that are loaded already, by their SHA-256. Raises `BrokerError`.
    """
    topic = settings.topics.profiles
    found: dict[str, Profile | ProfileError] = {
        each: ProfileError(f"profile {each} is not in topic {topic}: {ADVICE}") for each in hashes
    }
    for each, content in read_contents(settings, hashes).items():
        found[each] = _parsed(content, f"profile {each} in topic {topic}")
    profiles = [each for each in found.values() if isinstance(each, Profile)]
    needed = {ref.sha256 for each in profiles for ref in each.networks} - networks.keys()
    contents = read_contents(settings, needed) if needed else {}
    return {
        each: what if isinstance(what, ProfileError) else _engine(what, networks, contents, topic)
        for each, what in found.items()
    }


def _parsed(data: bytes, where: str) -> Profile | ProfileError:
    try:
        return check_thresholds(parse_profile(data, where))
    except ProfileError as error:
        return error


def _engine(
    profile: Profile, networks: Mapping[str, Featurizer], contents: Mapping[str, bytes], topic: str
) -> Engine | ProfileError:
    made = []
    try:
        for ref in profile.networks:
            where = f"network {ref.sha256} in topic {topic}"
            if ref.sha256 in networks:
                made.append(networks[ref.sha256])
            elif ref.sha256 in contents:
                made.append(make_network(ref, contents[ref.sha256], where))
            else:
                return ProfileError(f"{where}: is not there: {ADVICE}")
    except ProfileError as error:
        return error
    return Engine(profile, made)
