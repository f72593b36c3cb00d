"""From the records of a micro-batch to what must be written: verdicts, dead letters, state rows.

No Kafka in here. Whatever a record holds and whatever a detector does, each record ends as applied,
skipped or a dead letter; one account's fault touches no other account.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import structlog

from gamekeeper.detectors.engine import Arrival, Engine, Key, Outcome, Slices, Source
from gamekeeper.schemas.errors import StateError
from gamekeeper.schemas.event import check_key, decode_event, event_key
from gamekeeper.schemas.order import decode_order, is_order
from gamekeeper.schemas.verdict import encode_verdict
from gamekeeper.stream.worker.account_rows import Entry
from gamekeeper.stream.worker.dead_letters import DeadLetter, letter_of
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.opening import Item, Records, make_room, parts
from gamekeeper.stream.worker.row_codec import Get, Row
from gamekeeper.stream.worker.shares import QUANTUM, Reading
from gamekeeper.stream.worker.store import Store

log = structlog.get_logger("gamekeeper.stream")

STEP = 64
"""Rows of a slice that are scored between looks at the clock: with fewer, `similarity` searches its
history more often than it is worth."""
SLICE_SECONDS = 0.1
"""A slice ends after so long, and a step: rows with networks take milliseconds each."""

Current = Callable[[Any], AbstractContextManager[None]]


@dataclass(slots=True)
class Scored:
    """What came of a micro-batch; `verdicts` are account keys with encoded verdicts."""

    outcomes: list[Outcome] = field(default_factory=list)
    verdicts: list[tuple[bytes, bytes]] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    skipped: int = 0

    def add(self, part: Scored) -> None:
        """Append what came of other accounts' events."""
        self.outcomes += part.outcomes
        self.verdicts += part.verdicts
        self.letters += part.letters
        self.rows += part.rows


def _plainly(get: Get) -> Get:
    return get


class Scorer:
    """Applies records to the accounts of engines.

    `get` reads rows from the local store; inside `current(event)` it does so in the event's
    partition.
    """

    def __init__(
        self, engines: Engines, store: Store, get: Get, current: Current, metrics: Metrics
    ) -> None:
        self._engines = engines
        self._store = store
        self._get = get
        self._current = current
        self._metrics = metrics
        self._begun: dict[Key, Slices] = {}

    def read(self, event: Any) -> Reading:
        """Decode a Faust event; what cannot be read is a dead letter."""
        found = _read_or_letter(event)
        if isinstance(found, Item) and self._engines.watches(found.arrival.source, found.key[1]):
            return Reading(event, found, max(1, len(found.arrival.event)))
        return Reading(event, found, 1)

    def featurize(self, records: Records) -> None:
        """Run the profiles' networks, once for all; touches no state, so any thread may do it."""
        for engine, items in self._ruled(records.items):
            try:
                arrivals = engine.featurized([item.arrival for item in items])
            except Exception as error:  # scoring will find out which event it is
                log.error("featurizing failed", events=len(items), exc_info=error)
                continue
            for item, arrival in zip(items, arrivals, strict=True):
                item.arrival = arrival

    def _ruled(self, items: Iterable[Item]) -> list[tuple[Engine, list[Item]]]:
        """Sort records by the engines that rule them; nearly always one."""
        found: dict[str, tuple[Engine, list[Item]]] = {}
        for item in items:
            engine = self._engines.of(item.arrival.source)
            found.setdefault(engine.profile.hash, (engine, []))[1].append(item)
        return list(found.values())

    def watches(self, arrival: Arrival) -> bool:
        """Say whether the profile that rules an event is meant for its model."""
        return self._engines.of(arrival.source).profile.watches(arrival.event.model)

    def parts(self, records: Records) -> Iterator[tuple[Records, Scored]]:
        """Apply the records, in parts that fit into memory; each is to be saved before the next."""
        for part in parts(
            records, self._store, self._open, lambda item: self.watches(item.arrival)
        ):
            yield part, self._score(part)

    def advance(self, item: Item) -> tuple[Records, Scored] | None:
        """Score one slice of a large event; gives what is to be saved where it was the last.

        Until then the account's live state is ahead of its rows, and stays in memory.
        """
        scored: Scored | None
        try:
            scored = self._slice(item)
        except Exception as error:  # noqa: BLE001  # the dead letter tells it
            log.error("an event cannot be scored", error=repr(error), **_where(item.event))
            self._store.forget(item.key)
            scored = Scored(letters=[letter_of(item.event, error)])
        if scored is None:
            return None
        self._begun.pop(item.key, None)
        self._store.unpin(item.key)
        return Records([item.event], [item], rows=len(item.arrival.event)), scored

    def _slice(self, item: Item) -> Scored | None:
        key = item.key
        slices = self._begun.get(key)
        if slices is None:
            engine = self._engines.of(item.arrival.source)
            if not self.watches(item.arrival):  # its profile came after it was read
                return Scored(outcomes=engine.process([item.arrival]))
            if not make_room(key, item, self._store, self._open):
                return None  # it will be opened when others' events are done
            if not self._news(key, [item]):
                return Scored(skipped=1)
            slices = self._begun[key] = engine.slices(item.arrival)
        until = time.monotonic() + SLICE_SECONDS
        for _ in range(QUANTUM // STEP):
            slices.step(STEP)
            if not slices.left or time.monotonic() > until:
                break
        if slices.left:
            return None
        scored = Scored(outcomes=[slices.outcome()])
        scored.verdicts = _encoded(scored.outcomes)
        scored.rows = self._rows(key, item.arrival, scored.outcomes)
        return scored

    def clear(self) -> None:
        """Forget all accounts, and what was begun of large events: they begin anew."""
        self._begun.clear()
        self._store.clear()

    def _score(self, records: Records) -> Scored:
        """Apply records to their accounts, which are open."""
        scored = Scored(letters=records.letters)
        accounts: dict[Key, list[Item]] = {}
        for item in records.items:
            accounts.setdefault(item.key, []).append(item)
        fresh: dict[Key, list[Item]] = {}
        for key, items in accounts.items():
            news = self._news(key, items)
            scored.skipped += len(items) - len(news)
            if news:
                fresh[key] = news
        try:
            part = self._apply(fresh)
        except Exception as error:  # found out and told account by account
            log.error("scoring failed; isolating", accounts=len(fresh), exc_info=error)
            part = self._isolate(fresh)
        scored.add(part)
        return scored

    def _news(self, key: Key, items: list[Item]) -> list[Item]:
        """Leave out what had been applied before a crash."""
        if not self.watches(items[0].arrival):
            return items
        offset = self._store.hot(key).offset
        if items[0].arrival.source.offset > offset:
            return items
        return [item for item in items if item.arrival.source.offset > offset]

    def _open(self, key: Key, item: Item, reading: Callable[[Get], Get] = _plainly) -> Entry:
        source = item.arrival.source
        try:
            with self._current(item.event):
                entry = self._store.open(key, source, reading(self._get))
        except StateError as error:
            # Watching from now on is better than not watching.
            log.error("stored state is not readable; account begins anew", exc_info=error)
            self._metrics.state_lost.inc()
            return self._store.renew(key, source)
        for detector, why in entry.account.lost.items():
            log.error(
                "a detector's stored state is not readable; it begins anew",
                account=key[0],
                model=key[1],
                detector=detector,
                error=why,
            )
            self._metrics.state_lost.inc()
        entry.account.lost.clear()
        return entry

    def _apply(self, accounts: dict[Key, list[Item]]) -> Scored:
        """Score all events at once; what is raised leaves the accounts in an undefined state."""
        scored = Scored()
        for engine, items in self._ruled(chain.from_iterable(accounts.values())):
            scored.outcomes += engine.process([item.arrival for item in items])
        scored.verdicts = _encoded(scored.outcomes)
        found: dict[Key, list[Outcome]] = {}
        for outcome in scored.outcomes:
            event = outcome.arrival.event
            found.setdefault((event.account, event.model), []).append(outcome)
        for key, items in accounts.items():
            scored.rows += self._rows(key, items[-1].arrival, found[key])
        return scored

    def _rows(self, key: Key, last: Arrival, outcomes: list[Outcome]) -> list[Row]:
        if not self.watches(last):
            return []
        entry = self._store.hot(key)
        entry.offset = last.source.offset
        entry.note(outcomes)
        return list(entry.rows())

    def _isolate(self, accounts: dict[Key, list[Item]]) -> Scored:
        """Score account by account from their stored state; a faulty one event by event."""
        scored = Scored()
        for key in accounts:
            self._store.forget(key)
        for key, items in accounts.items():
            try:
                self._open(key, items[0])
                part = self._apply({key: items})
            except Exception:  # noqa: BLE001  # told with the event that caused it
                part = self._sift(key, items)
            scored.add(part)
        return scored

    def _sift(self, key: Key, items: list[Item]) -> Scored:
        """Score one account's events one by one; those that raise become dead letters."""
        good: list[Item] = []
        letters: list[DeadLetter] = []
        self._replay(key, items[0], [])
        for item in items:
            try:
                _encoded(self._process([item]))
            except Exception as error:  # noqa: BLE001  # the dead letter tells it
                log.error("an event cannot be scored", error=repr(error), **_where(item.event))
                letters.append(letter_of(item.event, error))
                self._replay(key, items[0], good)
            else:
                good.append(item)
        try:
            self._replay(key, items[0], [])
            scored = self._apply({key: good}) if good else Scored()
        except Exception as error:  # the state itself cannot be written
            log.error("an account cannot be stored", exc_info=error, **_where(items[-1].event))
            self._store.forget(key)
            return Scored(letters=[letter_of(item.event, error) for item in items])
        scored.letters = letters
        return scored

    def _replay(self, key: Key, first: Item, good: list[Item]) -> None:
        """Bring back the account from its rows and apply again what could be applied."""
        self._store.forget(key)
        if self.watches(first.arrival):
            self._open(key, first)
        if good:
            self._process(good)

    def _process(self, items: list[Item]) -> list[Outcome]:
        """Let the engine that rules one account's records take them."""
        engine = self._engines.of(items[0].arrival.source)
        return engine.process([item.arrival for item in items])


def _read(event: Any) -> Item:
    payload = event.value or b""
    what = decode_order(payload) if is_order(payload) else decode_event(payload)
    check_key(event.key, what.account)
    message = event.message
    return Item(event, Arrival(what, Source(message.topic, message.partition, message.offset)))


def _read_or_letter(event: Any) -> Item | DeadLetter:
    try:
        return _read(event)
    except Exception as error:  # noqa: BLE001  # any fault in a record is that record's
        return letter_of(event, error)


def _encoded(outcomes: list[Outcome]) -> list[tuple[bytes, bytes]]:
    return [
        (event_key(verdict.account), encode_verdict(verdict))
        for outcome in outcomes
        for verdict in outcome.verdicts
    ]


def _where(event: Any) -> dict[str, Any]:
    message = event.message
    return {"topic": message.topic, "partition": message.partition, "offset": message.offset}
