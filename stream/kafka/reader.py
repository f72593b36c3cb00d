"""A topic read from end to end or as it grows, without a consumer group and without commits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal, NamedTuple

from kafka import KafkaConsumer, TopicPartition, errors

from gamekeeper.schemas.errors import AbsentError
from gamekeeper.stream.kafka.clients import PATIENCE_MS, broker_errors, consumer
from gamekeeper.stream.kafka.lives import LOOK_SECONDS, Seen, Watch, require_topic
from gamekeeper.stream.kafka.news import Gap, News
from gamekeeper.stream.kafka.settings import Settings

Start = Literal["beginning", "now"]
Told = Callable[[Gap | News], None]

_POLL_MS = 200  # how long a reader may be deaf to the clock and to Ctrl-C
_ASK_MS = 3_000  # the same, where it asks a broker that does not answer
_SKIPS = 5  # polls: more than the last batches take, and no endless loop where much is coming


class Record(NamedTuple):
    """A record's key, its value (None: deleted), and where it lies."""

    key: bytes | None
    value: bytes | None
    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """Name the place for a message."""
        return f"{self.topic} partition {self.partition} offset {self.offset}"


class TopicReader:
    """Reads all partitions of a topic; records of one partition come in their order.

    Where no broker answers, or the topic is not there any more, it waits and says so every few
    seconds. It goes on where retention has passed it, reads a topic that was made anew from its
    beginning, and partitions that are added, too; it tells of each.

    No record is given before the cluster was asked whether the topic is still the same: one that
    was made anew may have other records at the same offsets.
    """

    def __init__(
        self, client: KafkaConsumer, watch: Watch, settings: Settings, topic: str, told: Told
    ) -> None:
        """Wrap a consumer that has been assigned and positioned; see `open_topic`."""
        self._client = client
        self._settings = settings
        self._topic = topic
        self._told = told
        self._watch = watch
        self._life = watch.look()[topic].life
        self._gone = False
        self._held: list[Record] = []
        self._looked = time.monotonic()
        self._said: float | None = None
        self._ends: dict[Any, int] | None = None
        self._quiet = False

    def poll(self) -> list[Record]:
        """Return what has come, after a fraction of a second, even if nothing.

        Where no broker answers that may take seconds.
        """
        self._held = self._held or self._fetch()
        if self._held:
            given = self._look()
        else:
            given = time.monotonic() - self._looked < LOOK_SECONDS or self._answered() is not None
        if not given:
            return []
        records, self._held = self._held, []
        return records

    def at_end(self) -> bool:
        """Say whether everything has been read that was there at the first call.

        The embedded broker's end may lie within its last batch, so that only silence proves it.
        """
        if not self._quiet or self._held:
            return False
        if self._ends is None:
            self._ends = self._ask_ends(PATIENCE_MS)
        return self._ends is not None and self._is_past(self._ends)

    def is_idle(self) -> bool:
        """Ask whether all that is there has been read; false where not all of it can be asked."""
        ends = self._answered()
        return ends is not None and not self._held and self._is_past(ends)

    def _is_past(self, ends: Mapping[Any, int]) -> bool:
        with self._errors():
            return all((self._position(place) or 0) >= end for place, end in ends.items())

    def _position(self, place: Any) -> int | None:
        position: int | None = self._client.position(place, timeout_ms=_ASK_MS)
        return position

    def _fetch(self) -> list[Record]:
        try:
            with self._errors():
                polled = self._polled()
        except AbsentError as error:
            self._wait(str(error))
            return []
        self._quiet = polled == {}
        return [
            Record(each.key, each.value, each.topic, each.partition, each.offset)
            for records in (polled or {}).values()
            for each in records
        ]

    def _polled(self) -> dict[Any, Any] | None:
        """Poll once; None where it has to go on elsewhere."""
        try:
            polled: dict[Any, Any] = self._client.poll(timeout_ms=_POLL_MS)
            return polled
        except errors.OffsetOutOfRangeError as error:
            positions = error.args[0]
            firsts = self._client.beginning_offsets(list(positions), timeout_ms=_ASK_MS)
            for place, position in positions.items():
                self._go_on(place, position, firsts[place])
        except errors.LogTruncationError as error:
            for place, end in error.divergent_offsets.items():
                position = self._position(place) or 0
                offset = end.offset if end else 0
                if offset < position:  # kafka-python (3.0.12) may say it twice
                    self._go_on(place, position, offset)
        return None

    def _go_on(self, place: Any, position: int, offset: int) -> None:
        """Read a partition from an offset on where it has no record at a position any more."""
        self._client.seek(place, offset)
        self._told(Gap(place.topic, place.partition, position, offset))

    def _answered(self) -> Mapping[Any, int] | None:
        """Ask the leaders of all partitions where these end; None where not all of them answer."""
        if not self._look() or self._gone:
            return None
        try:
            ends = self._ask_ends(_ASK_MS)
        except AbsentError as error:
            self._wait(str(error))
            return None
        self._said = None
        return ends

    def _ask_ends(self, milliseconds: int) -> dict[Any, int] | None:
        places = list(self._client.assignment())
        with self._errors(), suppress(KeyError):  # kafka-python's, until it knows new partitions
            ends: dict[Any, int] = self._client.end_offsets(places, timeout_ms=milliseconds)
            return ends
        return None

    def _look(self) -> bool:
        """Ask how the topic is; false where nobody answers, or what was fetched is not of it."""
        try:
            seen = self._watch.look()[self._topic]
        except AbsentError as error:
            self._wait(str(error))
            return False
        finally:
            self._looked = time.monotonic()
        return self._follow(seen)

    def _follow(self, seen: Seen) -> bool:
        if not seen.partitions:
            self._gone = True
            self._wait(
                f"topic {self._topic} was deleted; make it with `gamekeeper topics apply`, and it "
                "is read from its beginning"
            )
            return True  # what was fetched was fetched before
        anew, self._gone = self._gone or seen.differs(self._life), False
        self._life = seen.life or self._life
        if anew:
            self._begin_anew(seen.partitions)
        elif seen.partitions > len(self._client.assignment()):
            self._grow(seen.partitions)
        return not anew

    def _begin_anew(self, partitions: int) -> None:
        """Read the topic that has the name now, and not what was fetched of we know not which."""
        self._held, self._ends = [], None
        places = [TopicPartition(self._topic, number) for number in range(partitions)]
        self._client.assign(places)
        self._client.seek_to_beginning(*places)
        self._told(News(f"{self._topic} was made anew; reading it from its beginning"))

    def _grow(self, partitions: int) -> None:
        old = self._client.assignment()
        numbers = range(len(old), partitions)
        added = [TopicPartition(self._topic, number) for number in numbers]
        self._client.assign([*old, *added])
        self._client.seek_to_beginning(*added)
        self._told(News(f"{self._topic} has grown to {partitions} partitions; reading all of them"))

    def _wait(self, reason: str) -> None:
        """Say why nothing comes, unless that was said a few seconds ago."""
        now = time.monotonic()
        if self._said is None or now - self._said >= LOOK_SECONDS:
            self._said = now
            self._told(News(reason, waits=True))

    def skip_rest(self) -> None:
        """Skip what is left of the last batches, after a seek to the end (see `at_end`)."""
        for _ in range(_SKIPS):
            if not self.poll():
                return

    def _errors(self) -> Any:
        return broker_errors(self._settings.brokers, "read", topic=self._topic)


@contextmanager
def open_topic(settings: Settings, topic: str, start: Start, told: Told) -> Iterator[TopicReader]:
    """Open a topic at its beginning, or at what comes from now on.

    `told` hears of what is lost, of a topic that is made anew or grows, and of waiting. Raises
    `BrokerError` where the broker is not to be reached or has no such topic.
    """
    require_topic(settings, topic)
    with ExitStack() as stack:
        client = consumer(settings, auto_offset_reset="none")
        stack.callback(client.close, timeout_ms=_ASK_MS)
        with broker_errors(settings.brokers, "read", topic=topic):
            _position(client, topic, start)
        watch = Watch(settings, topic)
        stack.callback(watch.close)
        reader = TopicReader(client, watch, settings, topic, told)
        if start == "now":
            reader.skip_rest()
        yield reader


def _position(client: KafkaConsumer, topic: str, start: Start) -> None:
    """Give a consumer all partitions of the topic, and ask now where that begins or ends."""
    numbers = client.partitions_for_topic(topic) or set()
    places = [TopicPartition(topic, number) for number in sorted(numbers)]
    client.assign(places)
    (client.seek_to_beginning if start == "beginning" else client.seek_to_end)(*places)
    for place in places:  # asks the broker, so that "now" is the time of this call
        if client.position(place, timeout_ms=PATIENCE_MS) is None:
            raise errors.KafkaTimeoutError("no answer")
