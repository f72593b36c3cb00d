"""Fixtures that all tests share: brokers over TCP and names that no other test uses."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from support import brokers

pytest.register_assert_rewrite("support.contract")

# A shell's background job starts with SIGINT ignored, and what it starts inherits that: the tests
# that end a command by Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def names() -> brokers.Names:
    """Names of topics and apps that are the test's own."""
    return brokers.Names()


@pytest.fixture(scope="session", params=brokers.kinds())
def broker(request: pytest.FixtureRequest) -> Iterator[brokers.Broker]:
    """A running broker, shared by all tests: `.address` is its bootstrap address.

    Each of the embedded broker and Apache Kafka (if `KAFKA_HOME` has it), or only the cluster
    that `KAFKA_BOOTSTRAP_SERVERS` names.
    """
    with brokers.make_broker(request.param) as running:
        yield running


@pytest.fixture
def environ(broker: brokers.Broker, names: brokers.Names) -> dict[str, str]:
    """Variables that lead to the test's own topics on the shared broker, three partitions each."""
    return {
        **names.environ,
        "KAFKA_BOOTSTRAP_SERVERS": broker.address,
        "GAMEKEEPER_PARTITIONS": "3",
    }


@pytest.fixture(params=brokers.local_kinds())
def own_broker(request: pytest.FixtureRequest) -> Iterator[brokers.LoopbackBroker]:
    """A running broker of the test's own, to be stopped, killed and started again."""
    with brokers.local_broker(request.param) as running:
        yield running
