"""The worker: micro-batches from the queries topic, each made safe before it is acknowledged.

Per micro-batch, in parts where its accounts take much memory: score; send verdicts, scores and dead
letters and wait for their acknowledgement; write the accounts' rows, headers last, and wait for the
changelog's; acknowledge the events. Of a large event, nothing is written before its last slice.
A crash before a header is written leaves the account's old state: its events are delivered again
and lead to the same verdicts under the same ids. After it, they are skipped, and what they led to
had been acknowledged before.

Whatever cannot be written ends the process: started again, it goes on from what is safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

import structlog

from gamekeeper.detectors.engine import Engine
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.worker.batching import Batches, current
from gamekeeper.stream.worker.changelog import stored
from gamekeeper.stream.worker.counting import count
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.expiry import Expiry
from gamekeeper.stream.worker.intake import Intake, Orders
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.opening import Item, Records
from gamekeeper.stream.worker.outbox import Outbox
from gamekeeper.stream.worker.profiles import Profiles
from gamekeeper.stream.worker.promises import Promises
from gamekeeper.stream.worker.rereading import Rereader
from gamekeeper.stream.worker.scoring import Scored, Scorer
from gamekeeper.stream.worker.settling import LostPartitionsError, Settling
from gamekeeper.stream.worker.shares import Shares
from gamekeeper.stream.worker.store import Store
from gamekeeper.stream.worker.tenures import Tenures

log = structlog.get_logger("gamekeeper.stream")

MAX_WAITING_BYTES = 32 * 2**20
COMMIT_SECONDS = 5.0
LOOK_SECONDS = 0.1
# A broker answers a fetch after half a second, also where there is nothing to be read: ten of these
# are silence, however short the session is.
SHORTEST_SILENCE = 5.0


class Watcher:
    """The agent's body, and what must happen to it when partitions move and when it ends."""

    def __init__(
        self, app: Any, table: Any, settings: Settings, engine: Engine, metrics: Metrics
    ) -> None:
        self._app = app
        self._settings = settings
        self._engines = engines = Engines(engine)
        self._metrics = metrics
        self._outbox = Outbox(app, table, settings.topics)
        self._settling = Settling(app, self._outbox, settings)
        self._profiles = Profiles(settings, engines, metrics)
        self.tenures = Tenures(app, table, settings, self._outbox, metrics, self._profiles, engines)
        self._store = Store(engines, settings.hot_accounts, settings.hot_bytes, self.tenures.held)
        self._scorer = Scorer(
            engines, self._store, lambda key: stored(table.data.get(key)), current, metrics
        )
        self._expiry = Expiry(
            table.data,
            self.tenures.held,
            engines.patience,
            self._store.__contains__,
        )
        self._promises = Promises(table.data, self.tenures.held, engines, metrics)
        self._batches: Batches | None = None
        self._running: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "scoring")
        self._scoring: asyncio.Future[Any] | None = None
        self._closing = False
        self._leaving = False

    async def run(self, stream: Any) -> None:
        """Work on micro-batches until the stream ends; crash the app on what cannot be written.

        Nothing follows a batch that cannot be made safe: the live state is ahead of the stored one,
        and a header saved from it would say that the lost events have been applied.
        """
        intake = Intake(
            Shares(self._scorer.read, self._engines.home),
            Rereader(self._app, self._settings),
            self.tenures.gone,
            self._metrics,
            max_events=self._settings.batch_events,
            max_bytes=MAX_WAITING_BYTES,
        )
        batches = Batches(
            stream,
            self._app.monitor.tp_end_offsets,
            intake,
            pause=self._settings.batch_wait_ms / 1000,
        )
        log.info("watching", topic=self._settings.topics.queries)
        async with batches as self._batches:
            while (taken := await batches.take()) and not self._closing:
                self._running = asyncio.create_task(self._work(batches, taken))
                # Not awaited itself: cancelling the agent must not cancel a batch half written.
                await asyncio.wait({self._running})
                await self._judge(self._running)

    async def _judge(self, task: asyncio.Task[None]) -> None:
        """See how a batch ended."""
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, LostPartitionsError):
            log.warning("a micro-batch was abandoned: its partitions changed hands")
            self._scorer.clear()
        elif error is not None:
            log.critical("a micro-batch cannot be made safe; stopping", exc_info=error)
            self._closing = True  # crash() only asks for the end; until then batches would go on
            await self._app.crash(error)

    async def _work(self, batches: Batches, taken: Orders | Records | Item) -> None:
        self._engines.forget(self.tenures.committed)
        while self._profiles.obstacle() is not None:
            if self._leaving or self._closing:
                return
            await asyncio.sleep(LOOK_SECONDS)
        if isinstance(taken, Orders):
            await self._obey(taken)
        elif isinstance(taken, Records):
            await self._take(taken)
        else:
            try:
                done = await self._advance(taken)
            except LostPartitionsError:
                batches.done(taken)  # it comes again
                raise
            if done:
                batches.done(taken)
        if self._promises.unread():
            self._promises.take(await self._aside(self._promises.look))
        if self._expiry.due():
            await self._expire(self._app.consumer_generation_id)
        await asyncio.sleep(0)  # where nothing was to be written, nothing was waited for

    async def _obey(self, orders: Orders) -> None:
        """Take the profiles that orders name, and make safe what that leads to.

        Which profile rules an event follows from its offset: orders may be looked at before the
        events that they lie among, and must be before those behind them.
        """
        records, generation = self._current(Records(orders.events))
        decided = await self._profiles.decide(records.events)
        rows = self._profiles.rows(decided, self.tenures.held)
        await self._settling.note(decided.letters, rows, generation)
        self._profiles.take(decided)
        for order in records.events:
            order.ack()

    def _current(self, records: Records) -> tuple[Records, int]:
        """Leave out what was delivered before partitions last moved; give their generation.

        Raises `LostPartitionsError` for records of partitions that are not taken over yet.
        """
        generation: int = self._app.consumer_generation_id
        fresh = records.only(lambda event: event.message.generation_id == generation)
        if any(event.message.partition not in self.tenures.held for event in fresh.events):
            raise LostPartitionsError
        return fresh, generation

    async def _advance(self, item: Item) -> bool:
        """Bring a large event forward by a slice; false when its next one is to come."""
        records, generation = self._current(Records([item.event], [item]))
        if not records.events:
            return True
        part = await self._aside(self._scorer.advance, item)
        if part is None:
            return False
        done, scored = part
        await self._settle(done, scored, generation)
        return True

    async def _take(self, records: Records) -> None:
        """Bring records from events to acknowledgements, as many accounts at once as fit.

        The thread is not asked whether there is another part: each event is in one of them.
        """
        records, generation = self._current(records)
        if self._engines.networks():
            await self._aside(self._scorer.featurize, records)
        parts, left = self._scorer.parts(records), len(records.events)
        while left and not (self._leaving or self._closing):
            done, scored = await self._aside(next, parts)
            await self._settle(done, scored, generation)
            left -= len(done.events)

    async def _aside(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run in the scoring thread what takes long: health and Kafka are answered meanwhile.

        Nothing else touches the accounts while it runs: who cancels a task has to wait for it.
        """
        run = partial(copy_context().run, work, *arguments)
        self._scoring = asyncio.get_running_loop().run_in_executor(self._thread, run)
        return await asyncio.shield(self._scoring)

    async def _settle(self, records: Records, scored: Scored, generation: int) -> None:
        """Make safe what one part of the records has led to, and let go of what is not hot."""
        await self._settling.settle(records.events, scored, generation)
        for item in records.items:
            self._expiry.note(item.event.message.partition, item.arrival.event.time)
        count(self._engines, self._metrics, records.events, scored)
        self._promises.take(self._store.noted(item.key for item in records.items))
        self._promises.judge()
        self._store.evict()
        self._metrics.hot_accounts.set(len(self._store))
        self._metrics.hot_bytes.set(self._store.bytes)

    async def _expire(self, generation: int) -> None:
        """Delete what is stored of accounts that are forgotten."""
        if rows := await self._aside(self._expiry.look):
            await self._settling.delete(rows, generation)
            self._metrics.forgotten.inc(sum(row.kind == "header" for row in rows))

    async def release(self) -> None:
        """Let go of all partitions: finish the running part, or give it up, and forget the rest.

        Kafka gives the partitions away only when this has returned.
        """
        self._leaving = True
        try:
            if self._batches is not None:
                self._batches.drop()
            await self._finish()
        finally:
            self._leaving = False
        if len(self._store):
            log.info("let go of all partitions")
        self._scorer.clear()
        self.tenures.clear()
        self._expiry.clear()
        self._promises.clear()
        self._settling.clear()

    async def _finish(self) -> None:
        """Wait for the running part, though not for ever, and commit what was acknowledged."""
        if self._running is not None and not self._running.done():
            await asyncio.wait({self._running}, timeout=self._settings.rebalance_timeout * 0.5)
            self._running.cancel()
            await asyncio.wait({self._running})
            if self._scoring is not None:  # a thread cannot be cancelled
                await asyncio.wait({self._scoring})
        commit = asyncio.create_task(self._app.consumer.commit())
        await asyncio.wait({commit}, timeout=COMMIT_SECONDS)
        commit.cancel()  # not waited for: one that waits for another's commit then begins its own

    async def close(self) -> None:
        """Finish the running part and begin no other."""
        self._closing = True
        await self.release()
        self._profiles.close()
        self._thread.shutdown(wait=False)

    def obstacle(self) -> str | None:
        """Say why the worker is not ready; None when it is."""
        if self._closing:
            return "stopping"
        if self._app.rebalancing:
            return "partitions are changing hands"
        if not self._app.tables.actives_ready:
            return "state is being restored"
        if (missing := self._profiles.obstacle()) is not None:
            return missing
        silence = max(self._settings.session_timeout, SHORTEST_SILENCE)
        unheard: str | None = self._app.consumer.unheard(self._settings.topics.queries, silence)
        if unheard is None and self._outbox.unanswered() > silence:
            return f"what was written has had no acknowledgement for {silence:g} seconds"
        return unheard

    def lag(self) -> dict[int, int]:
        """Count, per partition of the queries topic, the records that are not applied yet."""
        if self._app.rebalancing or self._app.unassigned:
            return {}
        lags: dict[int, int] = self._app.consumer.lag(self._settings.topics.queries)
        return lags
