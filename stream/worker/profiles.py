"""The profiles that rule this worker's partitions: noted in its state, announced in the queries.

A partition has its profile from the changelog (see `rulings`), whatever the worker was started
with: so a change of workers, one by one, changes no verdict. Only where none is noted yet, the
worker's own becomes the first, and is published, so that another worker can take it over.

An order that names a profile which is not published, or cannot be used, is a dead letter and the
last profile stays: nobody is blind for a word on the queries topic. One that rules already and
cannot be loaded is waited for, as nothing else would give the same verdicts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from kafka import errors

from gamekeeper.detectors.engine import Engine, Profile
from gamekeeper.schemas.errors import BrokerError, ProfileError, SchemaError
from gamekeeper.schemas.order import ProfileOrder, decode_profile_order
from gamekeeper.stream.announcing import fetch, publish
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.worker.asking import ask
from gamekeeper.stream.worker.changelog import Tenure
from gamekeeper.stream.worker.dead_letters import DeadLetter, letter_of
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.row_codec import Row
from gamekeeper.stream.worker.rulings import ROW, Rulings, encoded, ruled_by

log = structlog.get_logger("gamekeeper.stream")

LOOK_AGAIN = 5.0  # seconds
DIFFERS = (
    "another profile rules than GAMEKEEPER_PROFILE names; to change it, run `gamekeeper profile "
    "announce FILE`, else let GAMEKEEPER_PROFILE name the one that rules"
)


@dataclass(slots=True)
class Decided:
    """What orders have led to: it holds once the rows are written."""

    rulings: dict[int, Rulings] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)


class Profiles:
    """Keeps the engines to what rules the partitions that this worker holds."""

    def __init__(self, settings: Settings, engines: Engines, metrics: Metrics) -> None:
        self._settings = settings
        self._engines = engines
        self._metrics = metrics
        self._published = False
        self._trouble = ""
        self._loading: asyncio.Task[None] | None = None
        metrics.watch_profiles(self.ruling)

    def ruling(self) -> dict[int, str]:
        """Give the hash of the profile that rules what comes, per partition."""
        return {partition: each.latest for partition, each in self._engines.rulings.items()}

    async def first(self, life: int) -> Rulings:
        """Let the worker's own profile rule a partition that has none noted.

        It is published first; where that is refused, this worker can go on all the same.
        """
        own = self._engines.own.profile
        if not self._published:
            folder = Path(self._settings.profile).parent
            refused = await ask(self._settings, _publish, own, folder)
            if refused:
                log.error("the profile is not published; announce it", reason=refused)
            self._published = True
        return ruled_by(own.hash, life)

    def begun(self) -> None:
        """Load what the partitions' rulings name; say where it is not what the worker was given."""
        if self._engines.missing() and (self._loading is None or self._loading.done()):
            self._loading = asyncio.create_task(self._load())
        self._compare()

    def _compare(self) -> None:
        own = self._engines.own.profile.hash
        others = {at: each for at, each in self.ruling().items() if each != own}
        differs = bool(self._settings.profile and others)
        self._metrics.profile_differs.set(differs)
        if differs:
            log.error(
                DIFFERS, partitions=sorted(others), ruling=sorted({*others.values()}), own=own
            )

    async def _load(self) -> None:
        """Fetch the profiles that rule and are not here, until all are."""
        while missing := self._engines.missing():
            failed = await self._fetch(missing)
            if failed:
                trouble = "; ".join(map(str, failed.values()))
                if trouble != self._trouble:
                    log.error("the profile that rules cannot be loaded", error=trouble)
                self._trouble = trouble
                await asyncio.sleep(LOOK_AGAIN)
        self._trouble = ""

    async def _fetch(self, hashes: Iterable[str]) -> dict[str, ProfileError]:
        """Take in published profiles; give those that cannot be."""
        networks = self._engines.networks()
        found = await ask(self._settings, fetch, sorted(hashes), networks)
        for each, what in found.items():
            if isinstance(what, Engine):
                self._engines.add(each, what)
        return {each: what for each, what in found.items() if isinstance(what, ProfileError)}

    def obstacle(self) -> str | None:
        """Say which profile is not here yet; None when all are."""
        missing = self._engines.missing()
        if not missing:
            return None
        return self._trouble or f"loading profile {', '.join(sorted(missing))}"

    async def decide(self, events: Sequence[Any]) -> Decided:
        """Decide on orders, in their place among the events; nothing is changed yet."""
        decided = Decided()
        orders = list(self._news(events, decided))
        unknown = {order.profile for _, order in orders if order.profile not in self._engines}
        failed = await self._fetch(unknown) if unknown else {}
        for event, order in orders:
            partition, offset = event.message.partition, event.message.offset
            now = decided.rulings.get(partition) or self._engines.rulings[partition]
            if order.profile in failed:
                now = now.refuse(offset)
                decided.letters.append(letter_of(event, failed[order.profile]))
            else:
                now = now.take(offset, order.profile)
            decided.rulings[partition] = now
        return decided

    def _news(self, events: Sequence[Any], decided: Decided) -> Iterable[tuple[Any, ProfileOrder]]:
        """Read the orders that are for this service, and were not decided before a crash."""
        for event in events:
            try:
                order = decode_profile_order(event.value)
            except SchemaError as error:
                decided.letters.append(letter_of(event, error))
                continue
            message = event.message
            rulings = self._engines.rulings[message.partition]
            if order.app == self._settings.app_id and message.offset > rulings.decided:
                yield event, order

    def rows(self, decided: Decided, held: dict[int, Tenure]) -> list[Row]:
        """Give the rows that note what was decided."""
        return [
            Row("profile", partition, ROW, encoded(rulings), held[partition].epoch)
            for partition, rulings in decided.rulings.items()
        ]

    def take(self, decided: Decided) -> None:
        """Let what was decided, and is noted, rule from now on."""
        for letter in decided.letters:
            log.error("an order to take a profile is refused", reason=letter.reason)
            self._metrics.events.labels("dead").inc()
            self._metrics.dead_letters.labels(letter.kind).inc()
        for partition, rulings in decided.rulings.items():
            if rulings.latest != self._engines.rulings[partition].latest:
                log.info(
                    "a profile rules",
                    profile=rulings.latest,
                    partition=partition,
                    after_offset=rulings.points[-1].offset,
                )
            self._engines.rulings[partition] = rulings
        self._compare()

    def clear(self) -> None:
        """Let go of all partitions."""
        self._engines.rulings.clear()

    def close(self) -> None:
        """Load no more."""
        if self._loading is not None:
            self._loading.cancel()


def _publish(settings: Settings, own: Profile, folder: Path) -> str:
    """Publish a profile; say why it cannot be, where waiting does not help."""
    try:
        publish(settings, own, folder)
    except ProfileError as error:
        return str(error)
    except BrokerError as error:
        if isinstance(error.__cause__, errors.AuthorizationError):
            return str(error)
        raise
    return ""
