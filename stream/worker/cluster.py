"""What the cluster says of the queries topic while the worker runs, looked at every few seconds.

Nobody else tells: a consumer that has its partitions hears of others minutes later, is then given
some that it has no place for, and ends on the first record of these.
"""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from typing import Any

import structlog
from mode import Service

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import LOOK_SECONDS, Seen, Settings, Watch

log = structlog.get_logger("gamekeeper.stream")

GROWN = 3
"""Exit status of a worker whose topic has more partitions than its settings say."""
REMADE = 4
"""Exit status of a worker whose topic was made anew or cut off: the next start reads that one."""
GREW = "the queries topic has more partitions than GAMEKEEPER_PARTITIONS; stopping"
ANEW = "the queries topic was made anew; stopping"
READ_ANEW = "start the worker again: it reads the new topic from its beginning"
CUT = "the log of the queries topic ends before what was read of it; stopping"
READ_END = "start the worker again: it tells what is lost, and reads on from where the log ends now"
ADVICE = (
    "set GAMEKEEPER_PARTITIONS={} everywhere, run `gamekeeper topics apply`, which gives the other "
    "topics as many, and start the workers again; no query is lost, but accounts that have moved "
    "to another partition begin anew there"
)


class Cluster(Service):  # type: ignore[misc]  # mode has no types that mypy follows
    """Looks at the queries topic; `status` is with which the process is to end, 0 if any.

    `cut` is the first partition whose log was seen to be too short, until another look says why.
    """

    def __init__(self, settings: Settings, **options: Any) -> None:
        self.status = 0
        self.topic = settings.topics.queries
        self._settings = settings
        self._seen: Seen | None = None
        self._life = ""
        self.cut: dict[str, int] | None = None
        self._watcher = Watch(settings, self.topic)
        self._ended = False
        self._called = threading.Event()
        super().__init__(**options)

    async def on_start(self) -> None:
        """Begin to look, in a thread: an answer may take long, and no end waits for it."""
        threading.Thread(target=self._watch, name="gamekeeper-cluster", daemon=True).start()

    async def on_stop(self) -> None:
        """Look no more."""
        self._ended = True
        self._called.set()

    def obstacle(self) -> str | None:
        """Say what is wrong with the topic, as it was seen last; None where nothing is."""
        name, wanted = self.topic, self._settings.partitions
        if self._seen is None or self._seen.partitions == wanted:
            return None
        if not self._seen.partitions:
            return f"topic {name} is missing; make it with `gamekeeper topics apply`"
        return (
            f"topic {name} has {self._seen.partitions} partitions, GAMEKEEPER_PARTITIONS={wanted}"
        )

    def _watch(self) -> None:
        while not self._ended:
            cut = self.cut
            with suppress(BrokerError, RuntimeError):  # away, or the loop has ended
                seen = self._watcher.look()[self.topic]
                self.loop.call_soon_threadsafe(self._judge, seen, cut)
            self._called.wait(LOOK_SECONDS)
            self._called.clear()

    def _judge(self, seen: Seen, cut: dict[str, int] | None) -> None:
        """Take what was seen to heart; `cut` is what was known as too short before the look."""
        news, self._seen = seen != self._seen, seen
        before, self._life = self._life, seen.life or self._life
        if seen.differs(before):
            self._end(REMADE, ANEW, READ_ANEW)
        elif cut is not None and seen.partitions:
            self._end(REMADE, CUT, READ_END, **cut)
        elif seen.partitions > self._settings.partitions:
            self._grew(seen.partitions)
        elif news and self.obstacle() is not None:
            log.error("the queries topic is not as it was", reason=self.obstacle())

    def told(self, partitions: int) -> None:
        """Take to heart, from any thread, how many partitions another client sees."""
        if partitions > self._settings.partitions:
            self.loop.call_soon_threadsafe(self._grew, partitions)

    def shorter(self, partition: int, read: int) -> None:
        """Take to heart, from any thread, that a log ends before where it was read up to.

        Offsets will be used again, for others: a node that lacked records became the leader, or
        the topic was made anew, which only another look tells.
        """
        if self.cut is None:
            self.cut = {"partition": partition, "read": read}
            self._called.set()

    def _grew(self, partitions: int) -> None:
        self._end(GROWN, GREW, ADVICE.format(partitions), partitions=partitions)

    def _end(self, status: int, reason: str, advice: str, **about: int) -> None:
        """End the process as a SIGTERM does, but with a status of its own."""
        if not self.status:
            self.status = status
            log.critical(reason, topic=self.topic, **about, advice=advice)
            signal.raise_signal(signal.SIGTERM)
