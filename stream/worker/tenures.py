"""The tenures of this worker: how it takes partitions over, and where it then reads on.

See `changelog` for what an epoch, a claim and a fence are for, and `lives` for where reading goes
on. Both need the changelog restored up to the fence; so a tenure begins in two steps, before and
after that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from faust.types import TP

from gamekeeper.stream.kafka import Settings, reaches, topic_ids
from gamekeeper.stream.worker import rulings
from gamekeeper.stream.worker.asking import ask
from gamekeeper.stream.worker.backlog import Place
from gamekeeper.stream.worker.changelog import FENCE, Tenure, epoch_of, fence, stored
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.lives import (
    EXPIRED,
    ROW,
    Beginning,
    Life,
    Log,
    begin,
    decoded,
    encoded,
)
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.outbox import Outbox
from gamekeeper.stream.worker.profiles import Profiles
from gamekeeper.stream.worker.row_codec import Row
from gamekeeper.stream.worker.rulings import Rulings

log = structlog.get_logger("gamekeeper.stream")

T = TypeVar("T")


class Tenures:
    """The partitions that this worker has taken over; `held` has them by number.

    `topic` is the id of the topic that is read, empty where the broker has none; `committed` has
    the offsets that were committed since.
    """

    def __init__(
        self,
        app: Any,
        table: Any,
        settings: Settings,
        outbox: Outbox,
        metrics: Metrics,
        profiles: Profiles,
        engines: Engines,
    ) -> None:
        self._app = app
        self._table = table
        self._settings = settings
        self._outbox = outbox
        self._metrics = metrics
        self._profiles = profiles
        self._engines = engines
        self._epochs: dict[int, int] = {}
        self._owns: Any = None
        self._begun: dict[Any, tuple[int | None, Beginning]] = {}
        self._restored = self._epochs
        self.held: dict[int, Tenure] = {}
        self.topic = ""
        self.committed: dict[int, int] = {}

    def clear(self) -> None:
        """Let go of all partitions."""
        self._epochs = {}  # another one, by which who is waiting for the broker sees it
        self._begun.clear()
        self.held.clear()
        self.committed.clear()
        self._profiles.clear()

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
        self._epochs, self._owns = epochs, owns

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
        """Note that state is restored up to the fences of the tenures that were begun last.

        Faust ends a restore also where the partitions have been let go meanwhile: then it says
        nothing of those that come next.
        """
        self._restored = self._epochs

    async def starts(
        self, committed: Mapping[Any, int | None], lives: Mapping[Any, str], firsts: Any, ends: Any
    ) -> dict[Any, int]:
        """Decide where to read the queries' partitions from, given what is committed.

        `lives` are the topic's ids that were committed with it, empty where none was: an offset of
        another topic does not count. `firsts` and `ends` ask the broker for the offsets of
        partitions. Nothing is decided before state is restored, nor where the partitions are let
        go meanwhile.
        """
        epochs = self._epochs
        places = [
            place
            for place in committed
            if place.topic == self._settings.topics.queries and place.partition in epochs
        ]
        if self._restored is not epochs or not places:
            return {}
        news = [each for each in places if self._news(each, committed[each])]
        if news:
            logs = await self._logs(news, committed, lives, firsts, ends)
            if self._epochs is epochs:
                await self._begin(epochs, logs, committed)
        if self._epochs is not epochs:
            return {}
        return {each: self._begun[each][1].offset for each in places}

    def _news(self, place: Any, committed: int | None) -> bool:
        return place not in self._begun or self._begun[place][0] != committed

    async def _logs(
        self,
        places: Sequence[Any],
        committed: Mapping[Any, int | None],
        lives: Mapping[Any, str],
        firsts: Any,
        ends: Any,
    ) -> dict[Any, Log]:
        """Ask the broker what it has of partitions."""
        topic = self._settings.topics.queries
        first, end = await firsts(*places), dict(await ends(*places))
        life = (await self._ask(topic_ids, [topic])).get(topic, "")
        logs = {}
        for place in places:
            counts = not life or lives.get(place, "") in ("", life)
            at = committed[place] if counts else None
            if at is not None and at > end[place]:
                reached = await self._ask(reaches, topic, place.partition, at)
                end[place] = at if reached else end[place]
            logs[place] = Log(life, at, first[place], end[place])
        return logs

    async def _begin(
        self,
        epochs: Mapping[int, int],
        logs: Mapping[Any, Log],
        committed: Mapping[Any, int | None],
    ) -> None:
        rows, found = [], {}
        for place, there in logs.items():
            partition, epoch = place.partition, epochs[place.partition]
            noted = self._noted(partition)
            begun = begin(noted, there, epoch)
            if begun.life != noted:
                rows.append(Row("life", partition, ROW, encoded(begun.life), epoch))
            ruled, ruling = await self._ruling(partition, begun)
            if ruled != ruling:
                note = rulings.encoded(ruling)
                rows.append(Row("profile", partition, rulings.ROW, note, epoch))
            found[place] = begun, ruling
        if self._epochs is not epochs:
            return
        for place, (begun, ruling) in found.items():
            if begun.told:
                self._tell(place, begun.told, committed[place], begun.offset, begun.lost)
            self.topic = logs[place].topic
            self._begun[place] = committed[place], begun
            self.held[place.partition] = Tenure(epochs[place.partition], begun.life.number)
            self._engines.rulings[place.partition] = ruling
        self._profiles.begun()
        if rows:
            written = await self._outbox.write(rows)
            if await self._owns():  # else the store would be ahead of a successor's rows
                self._outbox.keep(written)

    def _noted(self, partition: int) -> Life | None:
        row = stored(self._table.data.read(partition, ROW))
        return decoded(row.data if row else None)

    async def _ruling(self, partition: int, begun: Beginning) -> tuple[Rulings | None, Rulings]:
        """Give what is noted of the profiles that rule a partition, and what is to be noted."""
        row = stored(self._table.data.read(partition, rulings.ROW))
        noted = rulings.decoded(row.data if row else None)
        life = begun.life.number
        if noted is None:
            return None, await self._profiles.first(life)
        return noted, noted.since(life, begun.offset)

    def expired(self, place: Any, position: int, first: int) -> None:
        """Tell, from any thread, of records that expired before reading came to them."""
        self._tell(place, EXPIRED, position, first, first - position)

    def gone(self, places: Sequence[Place]) -> None:
        """Tell of records of one partition that were held back, and expired before their turn."""
        where = TP(self._settings.topics.queries, places[0].partition)
        self._tell(where, EXPIRED, places[0].offset, places[-1].offset + 1, len(places))

    def _tell(
        self, place: Any, told: str, committed: int | None, reading_from: int, lost: int
    ) -> None:
        log.error(
            told,
            topic=place.topic,
            partition=place.partition,
            committed=committed,
            reading_from=reading_from,
            lost=lost,
        )
        self._metrics.unread.inc(lost)

    async def _ask(self, what: Callable[..., T], *about: Any) -> T:
        return await ask(self._settings, what, *about)
