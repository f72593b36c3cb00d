"""What the tests of the sink share: variables of one that writes often, and topics."""

from __future__ import annotations

import pytest

from gamekeeper.stream.kafka import Settings
from support import brokers, sinks
from support.workers import prepare


@pytest.fixture
def environ(broker: brokers.Broker, names: brokers.Names) -> dict[str, str]:
    """Variables of a sink with the test's own topics on the shared broker."""
    return sinks.variables(names, broker)


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """The same as settings, with the topics made."""
    return prepare(environ)
