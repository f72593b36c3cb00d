"""Whether the profiles' promises hold for this worker's accounts: a metric and a line in the log.

Verdicts are made again and compared, so nothing in them, nor in any threshold or severity, depends
on other accounts: that a promise is suspended is told beside them. What is noted of each account is
stored with it (see `noting`); after a start it is read from all headers, a thousand at a time
between micro-batches, and nothing is said before that is done. Then only what suspends a promise
counts: that it was suspended before, and has not quite come back, is not stored.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, get_args

import msgspec
import structlog

from gamekeeper.detectors.drift import WINDOW, Drift, Life, Limits, drift, limits_of, lives
from gamekeeper.detectors.engine import Key
from gamekeeper.schemas.verdict import Kind
from gamekeeper.stream.worker.changelog import Tenure, stored
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.expiry import Rows
from gamekeeper.stream.worker.metrics import Metrics, PromiseStanding
from gamekeeper.stream.worker.row_codec import HEADERS, Noted, decode_header, decode_key

log = structlog.get_logger("gamekeeper.stream")

EVERY: Final = 1.0
"""Seconds from one judgement to the next: weighing a thousand lives takes a millisecond."""
AT_ONCE: Final = 1000
"""Headers read between two micro-batches: some milliseconds."""
MOST: Final = 100
"""Models with a profile each that are followed, those heard of last: names come from outside."""

SUSPENDED: Final = (
    "the promise is suspended: more accounts alarm than it allows; verdicts go on as they are"
)
HOLDS: Final = "the promise holds again"

Found = list[tuple[Key, Noted]]


class _Place(NamedTuple):
    model: str
    profile: str


class _Latest:
    """The latest lives under one profile's promise for one model; `standing` is as last judged."""

    def __init__(self, place: _Place, limits: Limits) -> None:
        self._place = place
        self._limits = limits
        self._lives: dict[tuple[str, int], Life] = {}
        self._floor = -1
        self.fresh = False
        self.drift = Drift()
        self.standing = PromiseStanding(*place, 0, {}, suspended=False)

    def take(self, account: str, noted: Noted) -> None:
        """Take in an account's lives that began, or alarmed, since it was taken in last.

        None began later than now: a clock that runs ahead hides nobody who comes.
        """
        now = time.time_ns() // 1000
        for life in islice(lives(noted.judged, self._limits), WINDOW):
            known = self._lives.get((account, life.number))
            if life.begun < self._floor or (known and known.alarmed == life.alarmed):
                return
            begun = known.begun if known else min(life.begun, now)
            self._lives[account, life.number] = life._replace(begun=begun)
            self.fresh = True
        if len(self._lives) > 2 * WINDOW:
            self._forget()

    def _order(self) -> list[tuple[tuple[str, int], Life]]:
        return sorted(self._lives.items(), key=lambda item: (item[1].begun, item[0]))

    def _forget(self) -> None:
        """Keep the latest lives."""
        kept = self._order()[-WINDOW:]
        self._lives = dict(kept)
        self._floor = kept[0][1].begun

    def judge(self) -> bool:
        """Weigh the lives; say whether the standing has changed."""
        self.fresh = False
        latest = [life for _, life in self._order()[-WINDOW:]]
        self.drift = drift(latest, self._limits)
        before = self.standing.suspended
        suspended = self.drift.suspends(suspended=before)
        kinds = Counter(life.kind for life in latest if life.alarmed is not None)
        alarmed = {kind: kinds[kind] for kind in get_args(Kind)}
        self.standing = PromiseStanding(*self._place, len(latest), alarmed, suspended)
        return before != suspended


class Promises:
    """Holds the lives of this worker's accounts against the promises of the profiles that rule.

    `rows` is what is stored, `tenures` has the partitions that are this worker's.
    """

    def __init__(
        self, rows: Rows, tenures: Mapping[int, Tenure], engines: Engines, metrics: Metrics
    ) -> None:
        self._rows = rows
        self._tenures = tenures
        self._engines = engines
        self._read: dict[int, bytes | None] = {}  # up to which header; None: to the last
        self._latest: OrderedDict[_Place, _Latest] = OrderedDict()
        self._next = 0.0
        metrics.watch_promises(self.standings)

    def clear(self) -> None:
        """Know of no account, as when partitions change hands."""
        self._read.clear()
        self._latest.clear()

    def unread(self) -> bool:
        """Say whether there are headers that are still to be read."""
        return any(self._read.get(each, HEADERS) is not None for each in self._tenures)

    def look(self) -> Found:
        """Read the next headers; touches nothing else, so any thread may do it."""
        partition = next(each for each in self._tenures if self._read.get(each, HEADERS))
        rows = self._rows.scan(partition, self._read.get(partition) or HEADERS, AT_ONCE)
        headers = [(key, value) for key, value in rows if key.startswith(HEADERS)]
        self._read[partition] = headers[-1][0] if len(headers) == AT_ONCE else None
        found = ((decode_key(key), _noted(value)) for key, value in headers)
        return [(key, noted) for key, noted in found if noted]

    def take(self, found: Found) -> None:
        """Take in what is noted of accounts."""
        promises = self._engines.promises()
        for (account, model), noted in found:
            if noted.profile in promises:
                latest = self._of(_Place(model, noted.profile), promises[noted.profile])
                if latest is not None:
                    latest.take(account, noted)

    def _of(self, place: _Place, promise: Mapping[str, Any]) -> _Latest | None:
        latest = self._latest.get(place)
        if latest is None:
            limits = limits_of(promise)
            if limits is None:
                return None
            latest = self._latest[place] = _Latest(place, limits)
            while len(self._latest) > MOST:
                self._latest.popitem(last=False)
        self._latest.move_to_end(place)
        return latest

    def judge(self) -> None:
        """Weigh what is new, and tell where a standing has changed; not more often than need be."""
        now = time.monotonic()
        if now < self._next or self.unread():
            return
        self._next = now + EVERY
        ruling = self._engines.promises()
        for place in [each for each in self._latest if each.profile not in ruling]:
            del self._latest[place]  # what it promised is no longer relied on
        for place, latest in self._latest.items():
            if latest.fresh and latest.judge():
                _tell(place, latest.standing.suspended, latest.drift)

    def standings(self) -> Sequence[PromiseStanding]:
        """Say how the promises stand; nothing while headers are still to be read."""
        self.judge()
        if self.unread():
            return []
        return [latest.standing for latest in self._latest.values()]


def _noted(value: bytes) -> Noted | None:
    row = stored(value)
    try:
        return decode_header(row.data).noted if row else None
    except msgspec.MsgspecError:
        return None  # the account's next event tells


def _tell(place: _Place, suspended: bool, found: Drift) -> None:
    """Log a change: names are data, which the log escapes."""
    (log.warning if suspended else log.info)(
        SUSPENDED if suspended else HOLDS,
        model=place.model,
        profile=place.profile,
        lives=found.lives,
        alarmed=dict(found.alarmed),
        allowed=round(found.allowed, 1),
    )
