"""Topics: planned, made, and never harmed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from kafka.admin import ConfigResource, ConfigResourceType

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.cli.topics import topics as command
from gamekeeper.stream.kafka import EmbeddedBroker, Settings, admin, apply, plan
from gamekeeper.stream.kafka.topics import wanted
from support import brokers
from support.workers import wait_for

pytestmark = pytest.mark.broker


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Settings of the test's own topics, which do not exist yet."""
    return Settings.from_env(environ)


def acts(settings: Settings) -> list[str]:
    """Name what a plan would do."""
    return [step.act for step in plan(settings)]


def described(settings: Settings, topic: str) -> tuple[int, dict[str, Any]]:
    """Ask the cluster for a topic's partition count and its settings."""
    with admin(settings) as client:
        partitions = len(client.describe_topics([topic])[0]["partitions"])
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic)]
        config = client.describe_configs(asked, config_filter="all")["topic"][topic]
    return partitions, {name: entry["value"] for name, entry in config.items()}


def test_makes_all_topics_once(settings: Settings) -> None:
    """Apply makes six topics as planned; a second one finds nothing to do."""
    assert acts(settings) == ["create"] * 6
    assert [step.act for step in apply(settings)] == ["create"] * 6
    assert acts(settings) == ["keep"] * 6
    assert [step.act for step in apply(settings)] == ["keep"] * 6
    partitions, config = described(settings, settings.topics.verdicts)
    assert partitions == 3
    assert config["cleanup.policy"] == "compact"
    partitions, config = described(settings, settings.changelog)
    assert partitions == 3
    assert config["cleanup.policy"] == "compact"
    partitions, config = described(settings, settings.topics.profiles)
    assert partitions == 1
    assert config["cleanup.policy"] == "compact"
    _, config = described(settings, settings.topics.queries)
    assert int(config["max.message.bytes"]) > 8 * 1024 * 1024
    assert config.get("cleanup.policy", "delete") == "delete"


def test_makes_only_what_is_missing(settings: Settings) -> None:
    """Topics that are there already are kept, even with more generous settings."""
    verdicts = wanted(settings)[1]
    with admin(settings) as client:
        client.create_topics(
            {
                verdicts.name: {
                    "num_partitions": 3,
                    "replication_factor": 1,
                    "configs": {**verdicts.config, "delete.retention.ms": "9000000000"},
                }
            }
        )
    assert acts(settings) == ["create", "keep", "create", "create", "create", "create"]


def test_never_shrinks(settings: Settings) -> None:
    """Fewer partitions than there are is refused before anything else is changed."""
    with admin(settings) as client:
        client.create_topics(
            {settings.topics.scores: {"num_partitions": 5, "replication_factor": 1}}
        )
    assert "refuse" in acts(settings)
    with pytest.raises(BrokerError, match=r"nothing was changed.*from 5 to 3.*other names"):
        apply(settings)
    with admin(settings) as client:
        assert settings.topics.queries not in client.list_topics()


def test_grows_and_warns(settings: Settings, broker: brokers.Broker) -> None:
    """More partitions are added; for the queries, what that does to accounts is said."""
    apply(settings)
    more = msgspec.structs.replace(settings, partitions=4)
    steps = plan(more)
    assert [step.act for step in steps] == ["grow", "warn", *["grow"] * 3, "keep", "grow"]
    assert "re-keys accounts" in steps[1].detail
    if isinstance(broker, EmbeddedBroker):
        with pytest.raises(BrokerError, match="this broker cannot do that"):
            apply(more)
        return
    apply(more)
    assert acts(more) == ["keep"] * 6
    assert described(more, more.topics.queries)[0] == 4


def test_mends_settings(settings: Settings, broker: brokers.Broker) -> None:
    """A changelog that expires instead of being compacted is found and mended."""
    with admin(settings) as client:
        client.create_topics({settings.changelog: {"num_partitions": 3, "replication_factor": 1}})
    assert acts(settings) == ["create"] * 5 + ["configure"]
    apply(settings)
    if not isinstance(broker, EmbeddedBroker):  # it says yes to a change of settings, no more
        wait_for(lambda: acts(settings) == ["keep"] * 6)  # Kafka answers before it is in effect


def test_warns_of_missing_copies(settings: Settings) -> None:
    """Fewer copies than wished are said; adding them is the cluster administrator's."""
    apply(settings)
    steps = plan(msgspec.structs.replace(settings, replication=2))
    assert {step.act for step in steps} == {"warn"}
    assert "1 copies instead of 2" in steps[0].detail


def test_command_plans_and_applies(settings: Settings, environ: dict[str, str]) -> None:
    """`plan` shows and changes nothing; `apply` makes; JSON is the same as data."""
    run = CliRunner(env=environ)
    options = ["--partitions", "2", "--replication", "1"]
    shown = run.invoke(command, ["plan", *options])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("create") == 6
    assert settings.changelog in shown.stdout.replace("\n", "")
    applied = run.invoke(command, ["apply", *options, "--format", "json"])
    assert applied.exit_code == 0, applied.output
    assert [step["act"] for step in json.loads(applied.stdout)] == ["create"] * 6
    again = run.invoke(command, ["apply", *options, "--format", "json"])
    assert [step["act"] for step in json.loads(again.stdout)] == ["keep"] * 6
    assert described(settings, settings.topics.queries)[0] == 2
