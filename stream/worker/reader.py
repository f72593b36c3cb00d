"""Faust's consumer, made to read committed records only, and to know what it has heard.

Faust reads what aborted transactions have left, unless it writes in transactions itself: here a
record counts when its transaction is committed. Faust tells a gap in the offsets from a record that
is still to come by rules that fail after the first record, and commits nothing after the last one:
here the offsets of what was read are kept until they are acknowledged, and markers behind the last
are committed with it.

Kafka answers a connection's requests one after the other, so what a restore asks waits behind each
fetch that waits for records. Faust lets these wait for 1.5 seconds, Kafka's own clients for 0.5.

aiokafka goes on trying, in silence, for as long as brokers are away. So what they last said is
kept: the answers to fetches, empty ones too, for each partition, and the answers to heartbeats.

This file and `consumer` are the only ones that touch private names of Faust's and aiokafka's
consumers. Tests of transactions and of readiness fail when they change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka
from faust.types import TP

from gamekeeper.stream.worker.trail import Trail

ASK_AGAIN: Final = 1.0  # seconds
FETCH_MS: Final = 500
"""How long a broker that has no new records waits with its answer."""


class ReaderThread(aiokafka.AIOKafkaConsumerThread):  # type: ignore[misc]  # as Faust is
    """The thread that talks to Kafka; `trails` are those of the partitions that are read.

    `lives` has the topic's ids that came with the committed offsets, where any did.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.trails: dict[Any, Trail] = {}
        self.lives: dict[Any, str] = {}
        self.beat_at = 0.0
        super().__init__(*args, **options)

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_MS
        return consumer

    async def on_start(self) -> None:
        """Start, and note from now on when a heartbeat was answered, and what topics there are."""
        await super().on_start()
        consumer = self._ensure_consumer()
        consumer._client.cluster.add_listener(self._tell)
        coordinator = consumer._coordinator
        beat = coordinator._do_heartbeat

        async def noted() -> bool:
            heard: bool = await beat()
            if heard:
                self.beat_at = time.monotonic()
            return heard

        coordinator._do_heartbeat = noted
        commit = consumer.commit

        async def with_life(offsets: Mapping[Any, OffsetAndMetadata]) -> None:
            # Else an offset that is committed just after the topic was made anew counts in it.
            tenures = self.app.watcher.tenures
            known = {
                tp: OffsetAndMetadata(at.offset, tenures.topic)
                for tp, at in offsets.items()
                if tp.partition in tenures.held
            }
            if known:  # else nothing was read since the restore
                await commit(known)
                tenures.committed.update({tp.partition: at.offset for tp, at in known.items()})

        consumer.commit = with_life

    def _tell(self, metadata: Any) -> None:
        """Tell of partitions before they are given to this worker."""
        cluster = self.app.cluster
        cluster.told(len(metadata.partitions_for_topic(cluster.topic) or ()))

    async def seek_to_committed(self) -> Mapping[Any, int | None]:
        """Ask for the committed offsets, and end the trails.

        It is not known yet which offsets count. Whoever knows seeks, which begins trails anew.
        """
        committed: Mapping[Any, int | None] = await self.call_thread(self._ask_for_committed)
        return committed

    async def _ask_for_committed(self) -> Mapping[Any, int | None]:
        consumer = self._ensure_consumer()
        self.trails.clear()
        found = await consumer._coordinator.fetch_committed_offsets(list(consumer.assignment()))
        committed: dict[Any, int | None] = dict.fromkeys(consumer.assignment())
        committed |= {tp: each.offset for tp, each in found.items()}
        self.lives = {tp: each.metadata or "" for tp, each in found.items()}
        self.beat_at = time.monotonic()
        return committed

    async def _seek_wait(self, consumer: Any, partitions: Mapping[Any, int]) -> None:
        # From here on without a pause: nothing may be read between a trail and its seek.
        for tp, offset in partitions.items():
            if tp.topic not in self.app.tables.changelog_topics:
                self.trails[TP(tp.topic, tp.partition)] = Trail(offset)
        await super()._seek_wait(consumer, partitions)

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, **options: Any
    ) -> Mapping[Any, Sequence[Any]]:
        records: Mapping[Any, Sequence[Any]] = await super()._fetch_records(
            consumer, active_partitions, **options
        )
        passed: dict[Any, int] = {}
        read, shorter = [], False
        for tp, trail in list(self.trails.items()):
            state = self.state(tp)
            if state is None or not state.has_valid_position:
                continue
            offsets = [each.offset for each in records.get(tp, ())]
            first = [*offsets, state.position][0]
            if first > trail.position:
                passed[tp] = trail.position
            elif first < trail.position:  # aiokafka begins anew, in silence
                self.app.cluster.shorter(tp.partition, trail.position)
                shorter = True
            read.append((trail, offsets, state.position))
        if shorter:  # nothing more is applied, or committed, by offsets that mean others now
            return {}
        # Told before it can be committed: who is killed in between would never tell it.
        await self._judge(consumer, passed)
        for trail, offsets, position in read:
            trail.read(offsets, position)
        return records

    async def _judge(self, consumer: Any, passed: Mapping[Any, int]) -> None:
        """Tell of records that expired before they were read.

        aiokafka goes on behind them in silence. It passes over a transaction's markers just so:
        what the broker still has tells one from the other.
        """
        while passed:
            try:
                firsts = await consumer.beginning_offsets(list(passed))
            except KafkaError:
                await asyncio.sleep(ASK_AGAIN)
                continue
            for tp, position in passed.items():
                if firsts[tp] > position:
                    self.app.watcher.tenures.expired(tp, position, firsts[tp])
            return

    def state(self, tp: Any) -> Any:
        """Give what aiokafka knows of an assigned partition; None where it is not assigned."""
        subscription = self._ensure_consumer()._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return None
        return subscription.assignment.state_value(tp)

    def waits(self, tp: Any) -> bool:
        """Say whether records of a partition are here and wait to be taken."""
        return tp in self._ensure_consumer()._fetcher._records


class Reader(aiokafka.Consumer):  # type: ignore[misc]  # Faust is not followed by mypy
    """Reads committed records, and says how far they are applied and when it heard of them."""

    _thread: ReaderThread

    def _new_consumer_thread(self) -> ReaderThread:
        return ReaderThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Let go of partitions, and of their trails."""
        for tp in list(self._thread.trails):  # before Faust forgets what is acknowledged
            self._new_offset(tp)
        await super().on_partitions_revoked(revoked)
        self._thread.trails.clear()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[Any]:
        trails = list(self._thread.trails)
        return (tp for tp in trails if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: Any) -> int | None:
        """Give the offset to commit, if any: the first that is not applied."""
        self._acked.pop(tp, None)  # Faust's list of the same, which nobody else reads
        return self._applied(tp) or None

    def _applied(self, tp: Any) -> int | None:
        trail = self._thread.trails.get(tp)
        return None if trail is None else trail.applied(self._acked_index[tp])

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Do nothing: the trail knows what was read."""

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Do nothing: `unheard` and `lag` tell of a partition that hangs.

        Faust's own look, every few seconds and only for the log, ends the worker where a partition
        is just being given a new place, as when the records that were next have expired.
        """

    def lag(self, topic: str) -> dict[int, int]:
        """Count, per partition that is read, the offsets that are not applied."""
        lags: dict[int, int] = {}
        for tp in self._read(topic):
            state, offset = self._thread.state(tp), self._applied(tp)
            if state is not None and state.highwater is not None and offset is not None:
                lags[tp.partition] = max(0, state.highwater - offset)
        return lags

    def unheard(self, topic: str, seconds: float) -> str | None:
        """Say what of a topic's partitions nothing was heard of for so long; None if of none.

        A partition of which records wait here is not asked for more; a heartbeat answered says
        that they will not wait in vain.
        """
        partitions = list(self._read(topic))
        if not partitions:
            return f"no partitions of {topic} assigned"
        if time.monotonic() - self._thread.beat_at > seconds:
            return f"no answer from Kafka for {seconds:g} seconds"
        silent = [tp.partition for tp in partitions if not self._heard(tp, seconds)]
        if silent:
            numbers = ", ".join(map(str, sorted(silent)))
            return f"nothing heard of {topic}, partition {numbers}, for {seconds:g} seconds"
        return None

    def _heard(self, tp: Any, seconds: float) -> bool:
        state = self._thread.state(tp)
        if state is None:
            return False
        fresh = state.timestamp is not None and time.time() - state.timestamp / 1000 <= seconds
        return fresh or self._thread.waits(tp)

    def _read(self, topic: str) -> Iterable[Any]:
        return (tp for tp in list(self._thread.trails) if tp.topic == topic)
