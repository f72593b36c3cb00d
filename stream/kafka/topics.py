"""The topics that the service needs, compared with the cluster's, and the additive changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from kafka import KafkaAdminClient, errors
from kafka.admin import ConfigResource, ConfigResourceType

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka.clients import admin, broker_errors
from gamekeeper.stream.kafka.settings import MAX_MESSAGE_BYTES, Settings

# A verdict's tombstone, and a state row's, must outlive the longest stop of a reader.
DELETE_RETENTION_MS = 7 * 24 * 3600 * 1000
MAX_BYTES = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
# So long a changelog keeps all that was written: a late row of an earlier owner, and the fence that
# tells it from a good one (see `gamekeeper.stream.worker.changelog`), are there in each restore
# until the events that they came of have been applied again.
COMPACTION_LAG_MS = 3600 * 1000
COMPACTED = {"cleanup.policy": "compact", "delete.retention.ms": str(DELETE_RETENTION_MS)}
LAG = {"min.compaction.lag.ms": str(COMPACTION_LAG_MS)}

Act = Literal["keep", "create", "grow", "configure", "warn", "refuse"]


class Topic(msgspec.Struct, frozen=True):
    """A topic as it should be; settings that are not named stay as the cluster has them."""

    name: str
    partitions: int
    replication: int
    config: dict[str, str] = {}


class Step(msgspec.Struct, frozen=True):
    """What is to be done about one topic, and why; `keep`, `warn` and `refuse` change nothing."""

    act: Act
    topic: str
    detail: str
    partitions: int = 0
    replication: int = 0
    config: dict[str, str] = {}


def wanted(settings: Settings) -> list[Topic]:
    """List the topics that the settings ask for.

    The changelog is Faust's, made here because it must have as many partitions as the queries
    (a worker restores partition i from partition i) and must be compacted, never expired. Profiles
    are few, and read by everybody.
    """
    counts = (settings.partitions, settings.replication)
    topics = settings.topics
    return [
        Topic(topics.queries, *counts, MAX_BYTES),
        Topic(topics.verdicts, *counts, COMPACTED),
        Topic(topics.scores, *counts),
        Topic(topics.dead_letters, *counts, MAX_BYTES),
        Topic(topics.profiles, 1, settings.replication, COMPACTED),
        Topic(settings.changelog, *counts, {**COMPACTED, **LAG, **MAX_BYTES}),
    ]


def plan(settings: Settings) -> list[Step]:
    """Compare the topics with the cluster's and change nothing."""
    with admin(settings) as client, broker_errors(settings.brokers, "describe the topics"):
        present = _present(client, wanted(settings))
    return [
        step
        for topic in wanted(settings)
        for step in _steps(topic, present.get(topic.name), settings)
    ]


def apply(settings: Settings) -> list[Step]:
    """Make what is missing and return the steps taken.

    Idempotent. Raises `BrokerError` before any change if the plan holds a refusal.
    """
    steps = plan(settings)
    refused = [step.detail for step in steps if step.act == "refuse"]
    if refused:
        raise BrokerError("nothing was changed: " + "; ".join(refused))
    with admin(settings) as client:
        for step in steps:
            with broker_errors(settings.brokers, step.act, topic=step.topic):
                _take(client, step)
    return steps


def _present(client: KafkaAdminClient, topics: list[Topic]) -> dict[str, Topic]:
    """Describe those of the topics that are there."""
    found: dict[str, Topic] = {}
    for described in client.describe_topics([topic.name for topic in topics]):
        if described["error_code"] == errors.UnknownTopicOrPartitionError.errno:
            continue
        if described["error_code"]:
            raise errors.for_code(described["error_code"])(described["name"])
        partitions = described["partitions"]
        copies = min((len(p["replica_nodes"]) for p in partitions), default=0)
        found[described["name"]] = Topic(described["name"], len(partitions), copies)
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in found]
    configs = client.describe_configs(asked, config_filter="all").get("topic", {}) if asked else {}
    return {
        name: msgspec.structs.replace(topic, config=_values(configs.get(name, {})))
        for name, topic in found.items()
    }


def _values(config: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: str(entry["value"]) for name, entry in config.items()}


def _steps(topic: Topic, present: Topic | None, settings: Settings) -> list[Step]:
    if present is None:
        detail = f"{topic.partitions} partitions, {topic.replication} copies{_said(topic.config)}"
        return [
            Step("create", topic.name, detail, topic.partitions, topic.replication, topic.config)
        ]
    steps = [
        *_partition_steps(topic, present, settings),
        *_replication_steps(topic, present),
        *_config_steps(topic, present),
    ]
    return steps or [Step("keep", topic.name, "as it should be")]


def _partition_steps(topic: Topic, present: Topic, settings: Settings) -> list[Step]:
    if present.partitions == topic.partitions:
        return []
    counts = f"from {present.partitions} to {topic.partitions} partitions"
    if present.partitions > topic.partitions:
        return [
            Step(
                "refuse",
                topic.name,
                f"{topic.name} cannot shrink {counts}; ask for {present.partitions}, or make new "
                "topics under other names",
            )
        ]
    steps = [Step("grow", topic.name, counts, topic.partitions)]
    if topic.name == settings.topics.queries:
        steps.append(
            Step(
                "warn",
                topic.name,
                "growing re-keys accounts: most move to another partition, where their state "
                "starts anew; stop the workers first, and start them under a new "
                "GAMEKEEPER_APP_ID",
            )
        )
    return steps


def _replication_steps(topic: Topic, present: Topic) -> list[Step]:
    if present.replication >= topic.replication:
        return []
    return [
        Step(
            "warn",
            topic.name,
            f"{present.replication} copies instead of {topic.replication}; add them with Kafka's "
            "kafka-reassign-partitions",
        )
    ]


def _config_steps(topic: Topic, present: Topic) -> list[Step]:
    wrong = {
        name: value
        for name, value in topic.config.items()
        if not _satisfies(name, present.config.get(name, ""), value)
    }
    return [Step("configure", topic.name, _said(wrong)[2:], config=wrong)] if wrong else []


def _satisfies(name: str, actual: str, value: str) -> bool:
    """Say whether a setting is as wanted; for limits and retention, or more generous."""
    if value.isdecimal() and actual.isdecimal():
        return int(actual) >= int(value)
    return actual == value


def _said(config: Mapping[str, str]) -> str:
    return "".join(f", {name}={value}" for name, value in config.items())


def _take(client: KafkaAdminClient, step: Step) -> None:
    if step.act == "create":
        topic = {
            "num_partitions": step.partitions,
            "replication_factor": step.replication,
            "configs": step.config,
        }
        try:
            client.create_topics({step.topic: topic}, wait_for_metadata=True)
        except errors.TopicAlreadyExistsError:
            return  # somebody else applied at the same time; the next plan compares it
    elif step.act == "grow":
        client.create_partitions({step.topic: step.partitions})
    elif step.act == "configure":
        resource = ConfigResource(ConfigResourceType.TOPIC, step.topic, step.config)
        # The broker checks the settings; the client's own check needs all of them described.
        results = client.alter_configs([resource], raise_on_unknown=False)["topic"]
        if results[step.topic] != "OK":
            raise BrokerError(f"cannot set {step.detail} of {step.topic}: {results[step.topic]}")
