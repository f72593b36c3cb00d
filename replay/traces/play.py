"""A trace played into a topic: at the speed it was recorded, faster, or as fast as it goes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaTimeoutError

from gamekeeper.replay.traces.trace import TraceEvent, TraceStore, open_trace
from gamekeeper.schemas.errors import BrokerError
from gamekeeper.schemas.event import QueryEvent, encode_event, event_headers, event_key
from gamekeeper.stream.kafka import Settings, broker_errors, producer, require_topic

_SOURCE = "/play"
_FLUSHES = 60  # seconds: longer than a broker's restart, shorter than anyone's patience
_NAP = 0.2  # seconds between looks at failed deliveries while waiting for an event's time
SAY_SECONDS = 5.0
"""How often it says that nothing is acknowledged."""


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How to play: `speed` times as fast as recorded (infinite: without waiting).

    `prefix` is put in front of account and event ids, so that a trace can be played again as
    other accounts. With `restamp` an event's time is that of its sending.
    """

    speed: float = 1.0
    prefix: str = ""
    restamp: bool = False


class Played(msgspec.Struct, kw_only=True):
    """What has been played so far: sent, and acknowledged by the broker."""

    events: int = 0
    queries: int = 0
    acknowledged: int = 0
    total: int = 0
    interrupted: bool = False


def play(
    settings: Settings,
    topic: str,
    paths: Iterable[Path | str],
    manner: Manner,
    *,
    advance: Callable[[Played], None] = lambda played: None,
    said: Callable[[str], None] = lambda text: None,
) -> Played:
    """Send traces' events by time, keyed by account; every one is acknowledged or it raises.

    A broker that is away is waited for, a minute at the end and two before, of which `said` hears
    every few seconds. An interrupt (`KeyboardInterrupt`) ends the playing after what was sent has
    been acknowledged. Raises `TraceError` for faulty traces, `BrokerError` for what could not be
    delivered.
    """
    require_topic(settings, topic)
    with open_trace(paths) as store:
        client = producer(settings)
        try:
            return _Player(client, settings, topic, manner, said).run(store, advance)
        finally:
            client.close(timeout=1)


class _Player:
    """Sends events when they are due and keeps count of what the broker says."""

    def __init__(
        self,
        client: KafkaProducer,
        settings: Settings,
        topic: str,
        manner: Manner,
        said: Callable[[str], None],
    ) -> None:
        self._client = client
        self._settings = settings
        self._topic = topic
        self._manner = manner
        self._said = said
        self._heard = time.monotonic()
        self._played = Played()
        self._failure: Exception | None = None

    def run(self, store: TraceStore, advance: Callable[[Played], None]) -> Played:
        self._played.total = len(store)
        begun = time.monotonic()
        start: int | None = None
        try:
            for each in store.events():
                start = each.due if start is None else start
                self._wait(begun + (each.due - start) / 1e6 / self._manner.speed)
                self._send(each)
                advance(self._played)
        except KeyboardInterrupt:
            self._played.interrupted = True
        self._finish()
        advance(self._played)
        return self._played

    def _wait(self, moment: float) -> None:
        if math.isinf(self._manner.speed):
            return
        while (left := moment - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, _NAP))

    def _send(self, each: TraceEvent) -> None:
        self._check()
        event = self._event(each.event)
        with self._errors():
            self._client.send(
                self._topic,
                key=event_key(event.account),
                value=encode_event(event),
                headers=event_headers(event, _SOURCE),
            ).add_callback(self._acknowledged).add_errback(self._failed)
        self._played.events += 1
        self._played.queries += len(event)

    def _event(self, event: QueryEvent) -> QueryEvent:
        changes: dict[str, Any] = {}
        if self._manner.prefix:
            changes["account"] = self._manner.prefix + event.account
            changes["id"] = self._manner.prefix + event.id
        if self._manner.restamp:
            changes["time"] = time.time_ns() // 1000
        return msgspec.structs.replace(event, **changes)

    def _acknowledged(self, _: object) -> None:
        self._heard = time.monotonic()
        self._played.acknowledged += 1

    def _failed(self, error: Exception) -> None:
        self._failure = self._failure or error

    def _check(self) -> None:
        """Raise what has failed; say where nothing is heard of what was sent."""
        if self._failure is not None:
            with self._errors():
                raise self._failure
        now, waiting = time.monotonic(), self._played.events - self._played.acknowledged
        if not waiting:
            self._heard = now
        elif now - self._heard >= SAY_SECONDS:
            self._heard = now
            self._said(
                f"waiting: no broker at {self._settings.brokers} takes events of topic "
                f"{self._topic}: {waiting} wait"
            )

    def _finish(self) -> None:
        for _ in range(_FLUSHES):
            self._check()
            with suppress(KafkaTimeoutError):
                self._client.flush(timeout=1.0)
                break
        self._check()
        if self._played.acknowledged < self._played.events:
            missing = self._played.events - self._played.acknowledged
            raise BrokerError(
                f"{missing} events were not acknowledged by topic {self._topic} at "
                f"{self._settings.brokers}; play the trace again under another --account-prefix"
            )

    def _errors(self) -> Any:
        return broker_errors(
            self._settings.brokers,
            f"play on after {self._played.acknowledged} acknowledged events into",
            topic=self._topic,
        )
