"""The seam between the tap and Kafka: a producer that the tap's background thread drives.

Nothing here runs on a request's thread. kafka-python's `send()` blocks while it waits for the
topic's metadata, and making a producer blocks while it looks for a broker; both belong to the
background thread alone.
"""

from __future__ import annotations

import selectors
import threading
from collections.abc import Callable, Mapping
from socket import socket
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from kafka import KafkaProducer, errors
from kafka.net.inet import KafkaNetSocket

from gamekeeper.schemas.errors import BrokerError, SettingsError
from gamekeeper.schemas.event import Limits, QueryEvent, decode_event
from gamekeeper.schemas.text import Secret

Done = Callable[[Exception | None], None]
"""Called once per record taken: with None when the broker has it, else with the reason."""

SECURITY_PREFIXES: Final = ("security_", "sasl_", "ssl_")
# How long one call may hold up the background thread, in milliseconds: a tap that is closed
# meanwhile leaves the thread behind, and this is how long it then lives.
BLOCK_MS: Final = 5_000
# Records outlive an outage of this length (milliseconds) inside the producer; the tap's own bound
# on bytes and events is what limits their number.
KEEP_MS: Final = 24 * 3_600_000
# A broker that is back is found within this time; kafka-python's own default is 30 s.
RECONNECT_MS: Final = 2_000
# Many small requests cost the model server's interpreter more time than a few larger ones. The
# batch stays well below a broker's default message.max.bytes (1 MiB).
LINGER_MS: Final = 20
BATCH_BYTES: Final = 256 * 1024
# Room for key, headers and framing above the largest payload that the service accepts.
FRAME_BYTES: Final = 64 * 1024


class Record(NamedTuple):
    """One Kafka record, ready to be sent."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Transport(Protocol):
    """What the tap needs of a message broker; one thread at a time calls it."""

    def open(self) -> None:
        """Connect; may block for seconds. Any exception means: not now."""
        ...

    def send(self, record: Record, done: Done) -> None:
        """Take the record and call `done` later, from any thread; keeps the order of each key.

        Raises `BrokerError` when it is not taken and worth another attempt, after `open()`.
        """
        ...

    def close(self) -> None:
        """Let go of the connection without waiting; what is unsent is lost."""
        ...

    def abandon(self) -> None:
        """Forget, in a forked child, the connection that belongs to the parent."""
        ...


class MemoryTransport:
    """A broker in memory, for the tests of those who use the tap.

        transport = MemoryTransport()
        with QueryTap(model="digits", transport=transport) as tap:
            serve(tap)
        assert [event.account for event in transport.events()] == ["alice"]

    While `down` is true it refuses to connect and to take records.
    """

    def __init__(self, *, down: bool = False) -> None:
        """Start with no records."""
        self.down = down
        self.records: list[Record] = []

    def open(self) -> None:
        """Connect, unless it is down."""
        if self.down:
            raise BrokerError("the in-memory broker is down; set `down` to False")

    def send(self, record: Record, done: Done) -> None:
        """Keep the record, unless it is down."""
        self.open()
        self.records.append(record)
        done(None)

    def close(self) -> None:
        """Keep what was sent."""

    def abandon(self) -> None:
        """Start with no records in the child."""
        self.records = []

    def events(self) -> list[QueryEvent]:
        """Decode what was sent, oldest first."""
        return [decode_event(record.value) for record in self.records]


class TidySocket(KafkaNetSocket):  # type: ignore[misc]
    """Connects as kafka-python does, and closes the socket of an attempt that failed.

    kafka-python leaves it to the garbage collector, as part of a cycle. In a server whose
    collector seldom runs, an outage of an hour would use up all file descriptors.
    """

    SCHEMES: ClassVar = ["tidy"]

    async def sock_connect(
        self, net: Any, sock: socket, sockaddr: Any, timeout_at: float | None = None
    ) -> Any:
        """Connect the socket."""
        try:
            return await super().sock_connect(net, sock, sockaddr, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise


class KafkaTransport:
    """kafka-python's idempotent producer, replaced whenever it has failed for good."""

    def __init__(self, servers: str, security: Mapping[str, Any] | None = None) -> None:
        """Prepare; nothing connects yet.

        `servers` is `host:port`, several separated by commas. `security` holds kafka-python's own
        settings whose names start with `security_`, `sasl_` or `ssl_`; any other raises
        `SettingsError`.
        """
        self._servers = [server.strip() for server in servers.split(",")]
        self._security: dict[str, Any] = {}
        for name, value in (security or {}).items():
            if not name.startswith(SECURITY_PREFIXES) or name not in KafkaProducer.DEFAULT_CONFIG:
                raise SettingsError(
                    f"{name} is no security setting of kafka-python; "
                    "use security_protocol, sasl_mechanism, sasl_plain_username, ssl_cafile, ..."
                )
            # Clients and errors show their settings.
            self._security[name] = Secret(value) if name.endswith("password") else value
        self._refused_bytes = Limits().max_bytes + 1
        self._left_to_parent: list[Any] = []
        self._start_over()

    def _start_over(self) -> None:
        self._producer: Any = None
        self._lock = threading.Lock()
        self._in_flight = 0
        self._failed = False

    def open(self) -> None:
        """Find a broker, waiting 5 s for it; `BrokerError` when none answers."""
        if self._producer is not None:
            return
        clients: list[Any] = []

        def make_client(**configs: Any) -> Any:
            clients.append(KafkaProducer.DEFAULT_CONFIG["kafka_client"](**configs))
            return clients[-1]

        try:
            self._producer = KafkaProducer(
                bootstrap_servers=self._servers,
                kafka_client=make_client,
                # Unlike epoll, poll keeps nothing in the kernel that a forked child could undo.
                selector=getattr(selectors, "PollSelector", selectors.SelectSelector),
                allow_auto_create_topics=False,
                batch_size=BATCH_BYTES,
                bootstrap_timeout_ms=BLOCK_MS,
                delivery_timeout_ms=KEEP_MS,
                linger_ms=LINGER_MS,
                max_block_ms=BLOCK_MS,
                max_request_size=Limits().max_bytes + FRAME_BYTES,
                metrics_enabled=False,
                proxy_url="tidy://",  # how kafka-python chooses the class of its sockets
                reconnect_backoff_max_ms=RECONNECT_MS,
                **self._security,
            )
        except Exception as error:
            for client in clients:  # the constructor leaves its sockets to the collector
                client.close()
            raise BrokerError(f"no Kafka broker at {','.join(self._servers)}: {error!r}") from error
        # The tap closes at exit, within its own bound; the producer's own hook would also run in
        # forked children, on locks that were held by threads of the parent.
        self._producer._unregister_cleanup()

    def send(self, record: Record, done: Done) -> None:
        """Hand the record to the producer; may wait 5 s for the topic's metadata."""
        if self._failed and not self._in_flight:
            self.close()
        if self._failed or self._producer is None:
            raise BrokerError("the Kafka producer failed and is being replaced")
        try:
            if len(record.value) >= self._refused_bytes:
                raise errors.MessageSizeTooLargeError(f"{len(record.value)} bytes")
            future = self._producer.send(
                record.topic, value=record.value, key=record.key, headers=record.headers
            )
        except errors.KafkaTimeoutError as error:
            raise BrokerError(
                f"topic {record.topic} is not there or has no leader; "
                "create it with: gamekeeper topics apply"
            ) from error
        except Exception as error:  # noqa: BLE001  another attempt would end the same way
            done(error)
            return
        with self._lock:
            self._in_flight += 1
        future.add_callback(self._on_delivered, done)
        future.add_errback(self._on_failed, done, len(record.value))

    def _on_delivered(self, done: Done, _: object) -> None:
        with self._lock:
            self._in_flight -= 1
        done(None)

    def _on_failed(self, done: Done, size: int, error: Exception) -> None:
        """Note a failure: any that is not worth a retry leaves the idempotent producer unusable.

        A record that is too large for the topic takes with it whatever is in flight, so the size
        that was refused once is not tried again.
        """
        with self._lock:
            if not self._failed and isinstance(error, errors.MessageSizeTooLargeError):
                self._refused_bytes = size
            self._failed = True
            self._in_flight -= 1
        done(error)

    def close(self) -> None:
        """End the producer; what is unsent is lost."""
        if self._producer is not None:
            self._producer._sender.force_close()  # close() alone would first wait for all records
            self._producer.close(timeout=1)
        self._start_over()

    def abandon(self) -> None:
        """Leave the parent's producer alone: its thread is not here and its locks may be held."""
        if self._producer is not None:
            self._producer._closed = True  # so that the collector does not close it either
            self._left_to_parent.append(self._producer)
        self._start_over()
