"""A bad network between client and broker: a loopback TCP proxy that delays, throttles and cuts."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from gamekeeper.stream.kafka import HOST, EmbeddedBroker, LoopbackBroker
from support import ports
from support.brokers import SHORT, KafkaBroker, kafka_home


class SlowProxy:
    """Forwards connections to a loopback port, each chunk late and at a bounded rate.

    `delay` is in seconds per chunk and direction, `rate` in bytes per second; both may be changed
    while it runs. A context manager.
    """

    def __init__(self, delay: float = 0.0, rate: float = float("inf"), port: int = 0) -> None:
        """Listen on a port, or a free one; nothing is forwarded before `target` is set."""
        self.delay = delay
        self.rate = rate
        self.target = 0
        self._whole = threading.Event()
        self._whole.set()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((HOST, port))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> SlowProxy:
        """Start."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        self.mend()
        for connection in (self._listener, *self._sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def cut(self) -> None:
        """Let nothing through any more; connections stay open, and new ones get no answer."""
        self._whole.clear()

    def mend(self) -> None:
        """Let through what waits, and all that comes."""
        self._whole.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((HOST, self.target))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while chunk := source.recv(65536):
                time.sleep(self.delay + len(chunk) / self.rate)
                self._whole.wait()
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class DeafProxy(SlowProxy):
    """A proxy that can keep requests of some kinds to itself, and lets the others through.

    `deaf` holds Kafka's keys of their APIs. A connection on which one was kept is silent until
    that is let through.
    """

    def __init__(self) -> None:
        """Listen on a free port; nothing is kept at first."""
        super().__init__()
        self.deaf: frozenset[int] = frozenset()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            answers = sink.getpeername()[1] != self.target
        except OSError:  # one side has hung up already
            return
        if answers:
            super()._forward(source, sink)
            return
        with suppress(OSError), source.makefile("rb") as requests:
            while size := requests.read(4):
                request = requests.read(int.from_bytes(size, "big"))
                while int.from_bytes(request[:2], "big") in self.deaf:
                    time.sleep(0.05)
                self._whole.wait()
                sink.sendall(size + request)
            sink.shutdown(socket.SHUT_RDWR)


class ProxiedBroker(EmbeddedBroker):
    """An embedded broker that sends its clients to a proxy."""

    def __init__(self, proxy: SlowProxy) -> None:
        """Prepare."""
        super().__init__()
        proxy.target = self.port
        self._public = f"tcp://{HOST}:{proxy.port}"

    def command(self) -> list[str]:
        """Advertise the proxy's address."""
        command = super().command()
        command[command.index("--advertised-listener-url") + 1] = self._public
        return command


class ProxiedKafka(KafkaBroker):
    """An Apache Kafka node that sends its clients to a proxy."""

    def __init__(self, home: Path, proxy: SlowProxy) -> None:
        """Prepare."""
        super().__init__(home, ports.reserve(), SHORT)
        proxy.target = self.port
        self.advertised = proxy.port


def proxied_broker(kind: str, proxy: SlowProxy) -> LoopbackBroker:
    """Prepare an own broker behind a proxy, to be entered."""
    home = kafka_home()
    return ProxiedKafka(home, proxy) if kind == "kafka" and home else ProxiedBroker(proxy)
