"""The tap: publishes a model server's requests to Kafka without slowing or breaking the server.

    with QueryTap("broker:9092", model="digits") as tap:
        ...
        tap.record(account, inputs, labels, probabilities)

`record()` copies the arrays into a bounded queue and returns. One daemon thread, started by the
first `record()` of a process, checks, encodes and sends. A broker that is down, slow or wrong is
that thread's trouble alone: it reconnects for ever; meanwhile the queue fills, and then new events
are dropped and counted. A fork (gunicorn's `--preload`) leaves the parent's queue to the parent;
the child's tap starts afresh, with a thread, a connection and counters of its own.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import socket
import threading
import time as clock
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from gamekeeper.schemas.errors import BrokerError, SchemaError, SettingsError
from gamekeeper.stream.tap.backlog import Backlog, TapStats
from gamekeeper.stream.tap.capture import Request, Sheet
from gamekeeper.stream.tap.publisher import Faults, Publisher, Writer
from gamekeeper.stream.tap.transport import KafkaTransport, Transport

log = logging.getLogger("gamekeeper.tap")

TOPIC: Final = "gamekeeper.queries"
# How long close() waits, beyond its timeout, for the thread to let go of its connection.
STOP_SECONDS: Final = 0.5
# What an event holds besides its arrays: objects in the queue and in the producer.
OVERHEAD_BYTES: Final = 2_000
FULL: Final = "events are dropped; the broker is down or slower than the requests"

_taps: weakref.WeakSet[QueryTap] = weakref.WeakSet()


class QueryTap:
    """Records inference requests; create one per model server and model, share it by all threads.

    The constructor raises `SettingsError` on settings that cannot work. Nothing else raises.
    """

    def __init__(
        self,
        servers: str | None = None,
        *,
        model: str,
        model_version: str = "",
        topic: str = TOPIC,
        source: str = "",
        security: Mapping[str, Any] | None = None,
        sample: float = 1.0,
        max_queue_events: int = 10_000,
        max_queue_bytes: int = 64 * 2**20,
        close_timeout: float = 5.0,
        transport: Transport | None = None,
    ) -> None:
        """Prepare; nothing connects and no thread starts before the first `record()`.

        Args:
            servers: `host:port`, several separated by commas; without it,
                `KAFKA_BOOTSTRAP_SERVERS`.
            model: the protected model's name.
            model_version: its version, where known.
            topic: the topic of query events.
            source: names this server in the events, a URI reference; by default `/tap/` and the
                host's name.
            security: kafka-python's settings `security_protocol`, `sasl_*` and `ssl_*`.
            sample: the fraction of accounts, above 0 and up to 1, that are recorded: an account is
                recorded always or never, in every process alike.
            max_queue_events: the most events in the queue.
            max_queue_bytes: the most bytes in it; what the Kafka producer holds counts, too.
            close_timeout: seconds that `close()` waits for the broker.
            transport: takes Kafka's place; `MemoryTransport()` in your tests.
        """
        if not model:
            raise SettingsError("name the model: QueryTap(..., model='digits')")
        if not 0 < sample <= 1:
            raise SettingsError(f"sample={sample}; give a fraction of accounts above 0, up to 1")
        if servers is None:
            servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
        self._writer = Writer(
            topic, source or f"/tap/{socket.gethostname()}", model, model_version, sample
        )
        self._sample = sample
        self._bounds = max_queue_events, max_queue_bytes
        self._close_timeout = close_timeout
        self._transport = transport or KafkaTransport(servers, security)
        self._closed = False
        self._start_over()
        _taps.add(self)
        atexit.register(self.close)

    def _start_over(self) -> None:
        self._lock = threading.RLock()
        self._backlog: Backlog[Request] = Backlog(*self._bounds)
        self._faults = Faults()
        self._publisher: Publisher | None = None

    def record(
        self,
        account: str,
        inputs: Any,
        labels: Any,
        probabilities: Any = None,
        *,
        embedding: Any = None,
        time: int | None = None,
        id: str | None = None,  # noqa: A002
    ) -> bool:
        """Queue one request for publishing; say whether it was accepted. Never raises or waits.

        `inputs` is `(n, ...)`: one row per query; `labels` `(n,)` class numbers, `probabilities`
        `(n, k)` in [0, 1], `embedding` `(n, d)` features. All are copied: the caller may reuse its
        arrays. Numpy arrays, nested lists, and tensors of torch and others are taken; those on
        a GPU are waited for. `time` is in microseconds since 1970, by default now; `id` is unique
        per request. Requests larger than a broker's record (1 MB) are split into several events.

        NaN and infinity are found later, by the background thread, and counted as rejected.
        """
        try:
            if not isinstance(account, str) or not account:
                raise SchemaError("$.account", f"{type(account).__name__} instead of an account id")
            if self._sample < 1 and not is_sampled(account, self._sample):
                self._backlog.count("sampled_out")
                return False
            if self._publisher is None:
                self._start()
            sheet = Sheet(inputs, labels, probabilities, embedding)
            if not self._backlog.has_room(1, sheet.nbytes):  # not even copied
                self._backlog.count("dropped_full")
                self._warn("the queue is full", BrokerError(FULL))
                return False
            parts = sheet.copy(account, clock.time_ns() // 1000 if time is None else time, id)
            accepted = self._backlog.put(parts, sheet.nbytes // len(parts) + OVERHEAD_BYTES)
            if not accepted:
                self._warn("the queue is full", BrokerError(FULL))
            return accepted
        except Exception as error:  # noqa: BLE001  the promise of this method
            self.reject(error)
            return False

    def reject(self, error: Exception) -> None:
        """Count a request that cannot be recorded; the background thread logs why."""
        self._backlog.count("rejected")
        self._warn("a request could not be recorded", error)

    def _warn(self, kind: str, error: Exception) -> None:
        if self._faults.note(kind, error):
            self._backlog.wake()

    def _start(self) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("the tap is closed")
            if self._publisher is None:
                self._publisher = Publisher(
                    self._backlog, self._writer, self._transport, self._faults
                )

    def stats(self) -> TapStats:
        """Count what became of the events so far, in this process."""
        return self._backlog.stats()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until the broker has what was recorded; false after `timeout` seconds."""
        return self._publisher is None or self._publisher.flush(timeout)

    def close(self) -> TapStats:
        """Flush, waiting `close_timeout` seconds at most, and stop; return the final counts.

        What is still queued then is counted as failed. Later calls of `record()` return False.
        """
        with self._lock:
            publisher, self._publisher = self._publisher, None
            first, self._closed = not self._closed, True
        if publisher is not None:
            publisher.flush(self._close_timeout)
            left = self._backlog.close()
            publisher.stop(STOP_SECONDS)
            if left:
                log.warning(
                    "closed with %d events undelivered after %s s", left, self._close_timeout
                )
        if first:
            atexit.unregister(self.close)
        return self.stats()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _after_fork(self) -> None:
        """Begin anew in a forked child, where the thread is gone and any lock may be held."""
        self._transport.abandon()
        self._start_over()


def is_sampled(account: str, fraction: float) -> bool:
    """Say whether an account is among the sampled fraction; the same everywhere, for ever."""
    digest = hashlib.blake2b(account.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


def _after_fork_in_child() -> None:
    for tap in list(_taps):
        tap._after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
