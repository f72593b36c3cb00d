"""Fixtures that all tests share: brokers over TCP and names that no other test uses."""

from __future__ import annotations

import os

# Before anything loads numpy or torch, and for all processes that tests start: as many processes
# as there are cores and more run at a time, and none waits for threads that wait for a core.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

# What tests start compiles the package only once, also where Python is told to keep no bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import signal
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import structlog

from support import brokers
from support.keeper import Contact, Keeper, ask

sys.dont_write_bytecode = False
# A command that is run in a test's own process sets up logs. A logger that was used then would keep
# its processors for all tests after it in this process, whatever these configure.
_configure = structlog.configure
structlog.configure = lambda **options: _configure(**options | {"cache_logger_on_first_use": False})
# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
pytest.register_assert_rewrite("support.contract")

# A shell's background job starts with SIGINT ignored, and what it starts inherits that: the tests
# that end a command by Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

KEEPER = pytest.StashKey[Keeper]()
CONTACT = pytest.StashKey[Contact]()


def pytest_configure(config: pytest.Config) -> None:
    """Have a keeper of the shared brokers in the process that pytest was started in."""
    if not hasattr(config, "workerinput"):
        config.stash[KEEPER] = Keeper()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the shared brokers, when the processes that tests run in have ended."""
    if KEEPER in config.stash:
        config.stash[KEEPER].close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Let the keeper answer the processes that tests run in, which start now."""
    config.stash[CONTACT] = config.stash[KEEPER].listen()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process that tests run in how to ask the keeper."""
    node.workerinput["keeper"] = node.config.stash[CONTACT]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run three times as many tests at a time as there are cores: most of them wait for brokers."""
    return 3 * len(os.sched_getaffinity(0))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let two of three processes begin with tests that wait for brokers, while the rest compute.

    A test that waits uses a quarter of a core; so both kinds last about as long as the whole run.
    Each process begins with as many consecutive tests; one that has none left takes others' last.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes == 1:
        return
    waiting = [item for item in items if item.get_closest_marker("broker")]
    rest = [item for item in items if not item.get_closest_marker("broker")]
    size, starters = len(items) // processes, processes - processes // 3
    share = min(size, -(-len(waiting) // starters))
    items.clear()
    for number in range(processes):
        own = 0 if number % 3 == 2 else share
        items += waiting[:own] + rest[: size - own]
        waiting, rest = waiting[own:], rest[size - own :]
    items += waiting + rest


@pytest.fixture
def names() -> brokers.Names:
    """Names of topics and apps that are the test's own."""
    return brokers.Names()


@pytest.fixture(scope="session", params=brokers.kinds())
def broker(request: pytest.FixtureRequest) -> brokers.Broker:
    """A running broker, shared by all tests in all processes: `.address` is its bootstrap address.

    Each of the embedded broker and Apache Kafka (if `KAFKA_HOME` has it), or only the cluster
    that `KAFKA_BOOTSTRAP_SERVERS` names.
    """
    config = request.config
    if hasattr(config, "workerinput"):
        return ask(config.workerinput["keeper"], request.param)
    return config.stash[KEEPER].get(request.param)


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
