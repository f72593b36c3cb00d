"""Ready means that it sees: brokers that are gone, frozen or cut off, while it runs and before."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from gamekeeper.stream.kafka import LoopbackBroker, Settings, apply
from gamekeeper.stream.worker import outbox
from gamekeeper.stream.worker.app import build
from gamekeeper.stream.worker.cluster import REMADE
from support import brokers, ports
from support.brokers import Names
from support.crashing import make_trace
from support.processes import spawned
from support.proxy import DeafProxy, SlowProxy, proxied_broker
from support.workers import SERVE, Worker, all_applied, environ_for, prepare, send, wait_for

pytestmark = pytest.mark.broker

PRODUCE = 0
"""Kafka's key of the requests that write records."""
# Run first, it makes a worker give up after seconds what it cannot write.
IMPATIENT = """
from gamekeeper.stream.worker import app
app.WRITE_SECONDS = 4.0
"""
SILENCE = 5.0
"""After so many seconds without a word a worker of these settings is not ready."""


@pytest.fixture(params=brokers.local_kinds())
def behind_proxy(request: pytest.FixtureRequest) -> Iterator[tuple[SlowProxy, LoopbackBroker]]:
    """A network that can be cut, and the broker behind it."""
    with SlowProxy() as proxy, proxied_broker(request.param, proxy) as broker:
        yield proxy, broker


@contextmanager
def ready_worker(address: str, names: Names, folder: Path) -> Iterator[tuple[Worker, Settings]]:
    """Run a worker that is ready; to the end it is the same process, and alive."""
    environ = environ_for(address, names.environ, folder)
    settings = prepare(environ)
    with Worker(environ) as worker:
        wait_for(worker.ready)
        yield worker, settings
        assert not worker.alive() or worker.terminate() == 0


def goes_blind(worker: Worker) -> str:
    """Wait until it says that it is not ready, give the reason; it is alive all the time."""
    begun = time.monotonic()
    wait_for(lambda: not worker.ready(), SILENCE + 10)
    assert time.monotonic() - begun < SILENCE + 5
    assert worker.get("/livez")[0] == 200
    assert worker.metric("gamekeeper_recovering") == 1
    return worker.get("/readyz")[1]


def sees_again(worker: Worker, settings: Settings) -> None:
    """Wait until it is ready and has applied what comes then."""
    wait_for(worker.ready)
    send(settings, make_trace(50))
    wait_for(lambda: all_applied(settings))
    wait_for(lambda: worker.metric("gamekeeper_queries_total") == 50)
    assert worker.ready()


def signalled(broker: LoopbackBroker, sign: signal.Signals) -> None:
    """Send a signal to a broker's process."""
    assert broker.pid is not None
    os.kill(broker.pid, sign)


def test_a_frozen_broker(own_broker: LoopbackBroker, names: Names, tmp_path: Path) -> None:
    """While it is frozen the worker is not ready, and says why; then it is, with no restart."""
    with ready_worker(own_broker.address, names, tmp_path) as (worker, settings):
        signalled(own_broker, signal.SIGSTOP)
        goes_blind(worker)
        wait_for(lambda: "no answer from Kafka" in worker.get("/readyz")[1], SILENCE)
        signalled(own_broker, signal.SIGCONT)
        sees_again(worker, settings)


def test_a_cut_network(
    behind_proxy: tuple[SlowProxy, LoopbackBroker], names: Names, tmp_path: Path
) -> None:
    """While nothing comes through, on connections that stay open, it is not ready; then it is."""
    proxy, _ = behind_proxy
    with ready_worker(f"127.0.0.1:{proxy.port}", names, tmp_path) as (worker, settings):
        proxy.cut()
        assert goes_blind(worker)
        proxy.mend()
        sees_again(worker, settings)


def test_a_killed_broker(own_broker: LoopbackBroker, names: Names, tmp_path: Path) -> None:
    """While it is gone the worker is not ready; when it is back with its topics, it is.

    The embedded broker comes back empty: its topics are made anew, which ends the worker.
    """
    with ready_worker(own_broker.address, names, tmp_path) as (worker, settings):
        own_broker.kill()
        assert goes_blind(worker)
        own_broker.start()
        if isinstance(own_broker, brokers.KafkaBroker):
            sees_again(worker, settings)
            return
        apply(settings)
        wait_for(lambda: not worker.alive())
        assert worker.terminate() == REMADE


def told(log: Path) -> list[str]:
    """Give the reasons why it waits, of which it has told so far."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["reason"] for line in lines if line["event"] == "waiting for Kafka"]


@contextmanager
def serving(environ: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `gamekeeper serve`, logging to a file."""
    with log.open("w") as file, spawned("serve", environ=environ, stderr=file) as process:
        yield process


def waiting_at(address: str, folder: Path) -> tuple[Callable[[str], int], dict[str, str]]:
    """Give the environment of a worker with an HTTP port, and how to ask that for a status."""
    worker = Worker(environ_for(address, {}, folder))
    environ = {**environ_for(address, {}, folder), "GAMEKEEPER_HTTP_PORT": str(worker.port)}
    return lambda path: worker.get(path)[0], environ


def test_serve_waits_for_a_broker_that_is_away(
    behind_proxy: tuple[SlowProxy, LoopbackBroker], names: Names, tmp_path: Path
) -> None:
    """Refused at first, then unanswered: it lives, says so again and again, and then works."""
    proxy, broker = behind_proxy
    address, log = f"127.0.0.1:{proxy.port}", tmp_path / "log"
    status, environ = waiting_at(address, tmp_path / "data")
    prepare({**environ, **names.environ})
    proxy.__exit__()
    with serving({**environ, **names.environ}, log):
        wait_for(lambda: any("no broker at" in reason for reason in told(log)))
        assert status("/livez") == 200
        assert status("/readyz") == 503
        with SlowProxy(port=proxy.port) as again:
            again.cut()
            again.target = broker.port
            said = len(told(log))
            wait_for(lambda: len(told(log)) > said + 1)
            assert status("/livez") == 200
            again.mend()
            wait_for(lambda: status("/readyz") == 200)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
def test_serve_that_waits_can_be_stopped(
    sign: signal.Signals, silent: bool, tmp_path: Path
) -> None:
    """Ctrl-C and SIGTERM end the waiting at once, with status 0; the first word comes early."""
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if silent else ports.reserve()
        _, environ = waiting_at(f"127.0.0.1:{port}", tmp_path / "data")
        with serving(environ, log) as process:
            wait_for(lambda: bool(told(log)))
            begun = time.monotonic()
            process.send_signal(sign)
            assert process.wait(60) == 0
            assert time.monotonic() - begun < 5
    assert all(line.startswith("{") for line in log.read_text().splitlines())


def test_serve_ends_where_waiting_is_in_vain(names: Names, tmp_path: Path) -> None:
    """A broker that comes, and has no topics, is not waited for any more."""
    broker = brokers.local_broker("embedded")
    _, environ = waiting_at(broker.address, tmp_path / "data")
    log = tmp_path / "log"
    with serving({**environ, **names.environ}, log) as process:
        wait_for(lambda: bool(told(log)) if log.read_text() else False)
        with broker:
            assert process.wait(60) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "gamekeeper topics apply" in last


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_a_worker_ends_without_its_broker(
    own_broker: LoopbackBroker, names: Names, tmp_path: Path, sign: signal.Signals
) -> None:
    """A worker that is told to stop does not wait until somebody answers."""
    with ready_worker(own_broker.address, names, tmp_path) as (worker, settings):
        send(settings, make_trace(50))
        wait_for(lambda: worker.metric("gamekeeper_queries_total") == 50)
        signalled(own_broker, sign)
        goes_blind(worker)
        begun = time.monotonic()
        assert worker.terminate() == 0
        assert time.monotonic() - begun < 40


@pytest.mark.parametrize(
    "own_broker", [each for each in brokers.local_kinds() if each != "embedded"], indirect=True
)
def test_a_broker_that_dies_again_and_again(
    own_broker: LoopbackBroker, names: Names, tmp_path: Path
) -> None:
    """The worker outlives every one of its deaths, and has then applied whatever is on the topic.

    The embedded broker loses its topics each time.
    """
    with ready_worker(own_broker.address, names, tmp_path) as (worker, settings):
        for death, seconds in enumerate((0.0, 1.0, 6.0, 0.0)):
            send(settings, make_trace(50, seed=death))
            own_broker.kill()
            time.sleep(seconds)
            own_broker.start()
        send(settings, make_trace(50, seed=9))
        wait_for(lambda: worker.metric("gamekeeper_queries_total") == 50 * 5)
        wait_for(lambda: all_applied(settings))
        wait_for(worker.ready)


def test_writes_that_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a broker answers fetches and takes no write, as without replicas: not ready."""
    app = build(Settings(data_dir=tmp_path, store="memory", session_timeout=SILENCE))
    watcher = app.watcher
    monkeypatch.setattr(app, "consumer", SimpleNamespace(unheard=lambda *_: None), raising=False)
    monkeypatch.setattr(app, "rebalancing", False)
    monkeypatch.setattr(app.tables, "actives_ready", True, raising=False)
    clock = [0.0]
    monkeypatch.setattr(outbox.time, "monotonic", lambda: clock[0] + 1.0)

    async def save() -> None:
        acknowledged = asyncio.get_running_loop().create_future()

        async def send(*_: object) -> asyncio.Future[None]:
            return acknowledged

        monkeypatch.setattr(app, "producer", SimpleNamespace(send=send), raising=False)
        sending = asyncio.create_task(watcher._outbox.send_verdicts([(b"ada", b"{}")]))
        await asyncio.sleep(0)
        assert watcher.obstacle() is None
        clock[0] = SILENCE + 1
        assert "no acknowledgement for 5 seconds" in watcher.obstacle()
        acknowledged.set_result(None)
        await sending
        assert watcher.obstacle() is None

    asyncio.run(save())


@pytest.mark.parametrize("kind", brokers.local_kinds()[-1:])
def test_writes_that_are_never_taken_end_the_worker(
    kind: str, names: Names, tmp_path: Path
) -> None:
    """It hears all the time; what it cannot write, it leaves to its next start.

    Kafka is enough, where there is one: the network loses the writes, and no broker sees them.
    """
    with DeafProxy() as proxy, proxied_broker(kind, proxy):
        environ = environ_for(f"127.0.0.1:{proxy.port}", names.environ, tmp_path)
        settings = prepare(environ)
        with Worker(environ, [sys.executable, "-c", IMPATIENT + SERVE]) as worker:
            wait_for(worker.ready)
            worker.suspend()
            send(settings, make_trace(50))
            proxy.deaf = frozenset({PRODUCE})
            worker.wake()
            wait_for(lambda: not worker.alive())
            assert worker.terminate() == 1
