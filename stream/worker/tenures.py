"""The tenures of this worker: how it takes partitions over, and where it then reads on.

See `changelog` for what an epoch, a claim and a fence are for, and `lives` for where reading goes
on. Both need the changelog restored up to the fence; so a tenure begins in two steps, before and
after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import structlog
from faust.tables.recovery import RebalanceAgain

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import Settings, reaches, topic_ids
from gamekeeper.stream.worker.account_rows import Row
from gamekeeper.stream.worker.changelog import FENCE, Tenure, epoch_of, fence, stored
from gamekeeper.stream.worker.lives import ROW, Beginning, Log, begin, decoded, encoded
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.outbox import Outbox

log = structlog.get_logger("gamekeeper.stream")

ASK_AGAIN = 1.0  # seconds

T = TypeVar("T")


class Tenures:
    """The partitions that this worker has taken over; `held` has them by number.

    `topic` is the id of the topic that is read, empty where the broker has none.
    """

    def __init__(
        self, app: Any, table: Any, settings: Settings, outbox: Outbox, metrics: Metrics
    ) -> None:
        self._app = app
        self._table = table
        self._settings = settings
        self._outbox = outbox
        self._metrics = metrics
        self._epochs: dict[int, int] = {}
        self._begun: dict[Any, tuple[int | None, Beginning]] = {}
        self._restored = False
        self.held: dict[int, Tenure] = {}
        self.topic = ""

    def clear(self) -> None:
        """Let go of all partitions."""
        self._restored = False
        self._epochs.clear()
        self._begun.clear()
        self.held.clear()

    async def take(self, marks: Mapping[Any, int], owns: Any) -> None:
        """Begin tenures of the changelog's partitions whose marks lie at these offsets.

        Where the partitions have gone to another worker already (`owns()` is false), nothing
        begins: the group is about to say so.
        """
        mine = [each for each in marks if each in self._app.assignor.assigned_actives()]
        if len(mine) < len(marks):
            return
        await self._follow(marks)
        if not mine or not await owns():
            return
        epochs = {each.partition: epoch_of(marks[each]) for each in mine}
        topic, send = self._settings.changelog, self._app.producer.send
        for sent in [
            await send(topic, FENCE, fence(epoch), partition, None, None)
            for partition, epoch in epochs.items()
        ]:
            await sent
        self._epochs = epochs

    async def _follow(self, marks: Mapping[Any, int]) -> None:
        """Throw away what is kept here of a changelog that was made anew since."""
        topic = self._settings.changelog
        known = (await self._ask(topic_ids, [topic])).get(topic, "")
        offsets = self._app.tables.recovery.active_offsets
        for place, mark in marks.items():
            if not self._table.data.follow(place.partition, known, mark):
                offsets[place] = None  # as Faust has it where nothing is kept
                log.error(
                    "the changelog was made anew; what is kept of it here is thrown away, and "
                    "accounts begin anew",
                    topic=topic,
                    partition=place.partition,
                )

    def restored(self) -> None:
        """Note that state is restored up to the fences."""
        self._restored = True

    async def starts(
        self, committed: Mapping[Any, int | None], lives: Mapping[Any, str], firsts: Any, ends: Any
    ) -> dict[Any, int]:
        """Decide where to read the queries' partitions from, given what is committed.

        `lives` are the topic's ids that were committed with it, empty where none was: an offset of
        another topic does not count. `firsts` and `ends` ask the broker for the offsets of
        partitions. Nothing is decided before state is restored. Where partitions are let go
        meanwhile, it raises what has Faust restore those that come next, and not end the worker.
        """
        places = [
            place
            for place in committed
            if place.topic == self._settings.topics.queries and place.partition in self._epochs
        ]
        if not self._restored or not places:
            return {}
        news = [each for each in places if self._news(each, committed[each])]
        if news:
            await self._begin(news, committed, lives, await firsts(*news), await ends(*news))
        if not self._begun.keys() >= set(places):
            raise RebalanceAgain  # they were let go meanwhile
        return {each: self._begun[each][1].offset for each in places}

    def _news(self, place: Any, committed: int | None) -> bool:
        return place not in self._begun or self._begun[place][0] != committed

    async def _begin(
        self,
        places: Iterable[Any],
        committed: Mapping[Any, int | None],
        lives: Mapping[Any, str],
        firsts: Mapping[Any, int],
        ends: Mapping[Any, int],
    ) -> None:
        topic = self._settings.topics.queries
        self.topic = (await self._ask(topic_ids, [topic])).get(topic, "")
        rows = []
        for place in places:
            partition = place.partition
            counts = not self.topic or lives.get(place, "") in ("", self.topic)
            at = committed[place] if counts else None
            end = ends[place]
            if at is not None and at > end and await self._ask(reaches, topic, partition, at):
                end = at
            epoch = self._epochs.get(partition)
            if epoch is None:
                raise RebalanceAgain  # it was let go meanwhile
            row = stored(self._table.data.read(partition, ROW))
            noted = decoded(row.data if row else None)
            found = Log(self.topic, at, firsts[place], end)
            begun = begin(noted, found, epoch)
            if begun.told:
                log.error(
                    begun.told,
                    topic=topic,
                    partition=partition,
                    committed=committed[place],
                    reading_from=begun.offset,
                    lost=begun.lost,
                )
                self._metrics.unread.inc(begun.lost)
            if begun.life != noted:
                rows.append(Row("life", partition, ROW, encoded(begun.life), epoch))
            self._begun[place] = committed[place], begun
            self.held[partition] = Tenure(epoch, begun.life.number)
        if rows:
            self._outbox.keep(await self._outbox.write(rows))

    async def _ask(self, what: Callable[..., T], *about: Any) -> T:
        """Ask the broker until it answers."""
        while True:
            try:
                return await asyncio.to_thread(what, self._settings, *about)
            except BrokerError as error:
                log.warning("waiting for the broker", error=str(error))
                await asyncio.sleep(ASK_AGAIN)
