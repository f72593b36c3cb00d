"""The tap's background thread: takes events from the backlog, checks, encodes and sends them."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Final, NamedTuple

from gamekeeper.schemas.errors import BrokerError, SchemaError
from gamekeeper.schemas.event import (
    check_event,
    encode_event,
    event_headers,
    event_key,
)
from gamekeeper.stream.tap.backlog import Backlog
from gamekeeper.stream.tap.capture import Request
from gamekeeper.stream.tap.transport import Record, Transport

log = logging.getLogger("gamekeeper.tap")

# At most one warning of a kind in this many seconds: faults come with every request or not at all.
WARN_SECONDS: Final = 60.0
# Events that have waited for longer than a broker takes to restart are worth a word.
STALL_SECONDS: Final = 5.0
# The wait between two attempts to reach the broker doubles from the first to the second of these.
BACKOFF_SECONDS: Final = (0.1, 5.0)
# The threads that answer requests wait for the interpreter's lock while this one works, and to
# wake this one costs the waker a system call. So while requests come, the thread looks for them
# every 5 ms instead of being woken, and as long as the queue is short it rests after each event;
# it waits to be woken when none has come for a second.
GATHER_SECONDS: Final = 0.005
AWAKE_SECONDS: Final = 1.0
REST_SECONDS: Final = 0.0002
SHORT_QUEUE: Final = 256
STALLED: Final = (
    "they are sent once the brokers are back, have enough replicas, and the topic is there "
    "(gamekeeper topics apply)"
)


class Faults:
    """Warnings of a few kinds, written by one thread, each kind once a minute at most."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.RLock()
        self._noted: dict[str, tuple[int, str]] = {}
        self._spoken: dict[str, float] = {}

    def note(self, kind: str, error: BaseException) -> bool:
        """Remember a fault, cheaply and from any thread; true if it should be written now."""
        try:
            name = "" if isinstance(error, BrokerError | SchemaError) else type(error).__name__
            text = f"{name}: {error}".lstrip(": ")[:500]
        except Exception:  # noqa: BLE001  an error whose text cannot be had
            text = type(error).__name__
        with self._lock:
            times = self._noted.get(kind, (0, ""))[0] + 1
            self._noted[kind] = times, text
            return times == 1 and self._due(kind)

    def _due(self, kind: str) -> bool:
        return time.monotonic() - self._spoken.get(kind, -WARN_SECONDS) >= WARN_SECONDS

    def write(self) -> None:
        """Log what is due, with how often it happened since the last time."""
        with self._lock:
            due = {kind: self._noted.pop(kind) for kind in list(self._noted) if self._due(kind)}
            self._spoken.update(dict.fromkeys(due, time.monotonic()))
        for kind, (times, text) in due.items():
            with suppress(Exception):  # the server's own filters and handlers
                log.warning("%s (%d times): %s", kind, times, text)


class Writer(NamedTuple):
    """What is the same in all events of a tap."""

    topic: str
    source: str
    model: str
    model_version: str
    sampling: float

    def record(self, request: Request, new_id: str) -> Record:
        """Write the request as a Kafka record that the service accepts; else `SchemaError`."""
        event = request.event(new_id, self.model, self.model_version, self.sampling)
        check_event(event)  # what the service would put aside as a dead letter is not sent
        headers = event_headers(event, self.source)
        return Record(self.topic, event_key(event.account), encode_event(event), headers)


class Publisher:
    """Moves requests from the backlog to the transport, in a daemon thread of its own."""

    def __init__(
        self, backlog: Backlog[Request], writer: Writer, transport: Transport, faults: Faults
    ) -> None:
        """Start the thread."""
        self._backlog = backlog
        self._writer = writer
        self._transport = transport
        self._faults = faults
        self._prefix = uuid.uuid4().hex
        self._numbers = count()
        self._hurry = False
        self._told = -WARN_SECONDS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gamekeeper-tap", daemon=True)
        self._thread.start()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was recorded is settled; false after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        self._hurry = True
        try:
            while self._backlog.stats().queued_events:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(0.002)
            return True
        finally:
            self._hurry = False

    def stop(self, timeout: float) -> None:
        """Stop without sending the rest; wait `timeout` seconds for the thread to let go."""
        self._stop.set()
        self._backlog.wake()
        self._thread.join(timeout)

    def _run(self) -> None:
        last = 0.0
        while not self._stop.is_set():
            busy = time.monotonic() - last < AWAKE_SECONDS
            taken = self._backlog.take(0 if busy else STALL_SECONDS)
            self._note_stall()
            self._faults.write()
            if taken is not None:
                self._publish(*taken)
                last = time.monotonic()
                if not self._hurry and len(self._backlog) < SHORT_QUEUE:
                    time.sleep(REST_SECONDS)
            elif busy:
                time.sleep(GATHER_SECONDS)
        try:
            self._transport.close()
        except Exception as error:  # noqa: BLE001  the transport is anybody's
            self._faults.note("closing the connection to the broker failed", error)
        self._faults.write()

    def _note_stall(self) -> None:
        """Say that the producer has events that it tries to send, in silence, for a day."""
        waited = self._backlog.stalled()
        now = time.monotonic()
        if waited > STALL_SECONDS and now - self._told >= WARN_SECONDS:
            self._told = now
            count = self._backlog.stats().queued_events
            text = f"{count} wait, and none has been taken for {waited:.0f} s; {STALLED}"
            self._faults.note("no broker takes events", BrokerError(text))

    def _publish(self, request: Request, size: int) -> None:
        """Send a request, however long it takes, unless it is faulty or the tap is closed."""
        try:
            record = self._writer.record(request, f"{self._prefix}-{next(self._numbers):x}")
        except Exception as error:  # noqa: BLE001  a SchemaError; whatever else, the thread lives
            self._backlog.settle(size, "rejected")
            self._faults.note("a request could not be recorded", error)
            return
        wait, longest = BACKOFF_SECONDS
        while not self._stop.is_set():
            try:
                self._transport.open()
                self._transport.send(record, partial(self._settle, size))
                return
            except Exception as error:  # noqa: BLE001  the thread outlives any transport
                self._faults.note("the broker cannot be reached; trying again", error)
            self._faults.write()
            self._stop.wait(wait)
            wait = min(2 * wait, longest)

    def _settle(self, size: int, error: Exception | None) -> None:
        self._backlog.settle(size, "delivered" if error is None else "failed")
        if error is not None and self._faults.note("the broker refused events", error):
            self._backlog.wake()
