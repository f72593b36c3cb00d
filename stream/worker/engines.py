"""The engines of a worker: one for each profile that rules some of its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gamekeeper.detectors.base import Featurizer
from gamekeeper.detectors.engine import Account, Engine, Key, Source, patience
from gamekeeper.stream.worker.rulings import Rulings

Home = tuple[int, int]
"""A partition, and the offset from which on one profile rules it: what can be scored together."""


class Engines:
    """The engines by their profiles' hashes, and which of them rules an event.

    `own` is that of the profile that the worker was started with; it rules where nothing is noted
    in `rulings`, by partition. `accounts` is the live state that all engines share: an account is
    of one profile at a time.
    """

    def __init__(self, own: Engine) -> None:
        self.own = own
        self.accounts: dict[Key, Account] = own.accounts
        self.rulings: dict[int, Rulings] = {}
        self._engines = {own.profile.hash: own}

    def of(self, source: Source) -> Engine:
        """Give the engine that rules an event."""
        return self._engines[self._hash(source)]

    def patience(self, partition: int) -> float:
        """Say how long a silence the profiles that rule a partition's events remember, in us."""
        rulings = self.rulings.get(partition)
        ruling = [self.own.profile.hash] if rulings is None else [p.profile for p in rulings.points]
        return max(patience(self._engines[each].profile.policy) for each in ruling)

    def watches(self, source: Source, model: str) -> bool:
        """Say whether an event's model is watched; one whose profile is not here yet may be."""
        engine = self._engines.get(self._hash(source))
        return engine is None or engine.profile.watches(model)

    def home(self, partition: int, offset: int) -> Home:
        """Say with which other events one can be scored."""
        rulings = self.rulings.get(partition)
        return partition, 0 if rulings is None else rulings.at(offset).offset

    def __contains__(self, profile: str) -> bool:
        """Say whether there is an engine of a profile."""
        return profile in self._engines

    def promises(self) -> dict[str, dict[str, Any]]:
        """Give what the profiles promise that rule what comes, by their hashes."""
        latest = {rulings.latest for rulings in self.rulings.values()} & self._engines.keys()
        return {each: self._engines[each].profile.promise.content for each in latest}

    def add(self, profile: str, engine: Engine) -> None:
        """Take in the engine of a profile."""
        engine.accounts = self.accounts
        self._engines[profile] = engine

    def missing(self) -> set[str]:
        """Name the profiles that rule something, and have no engine yet."""
        return self._ruling() - self._engines.keys()

    def networks(self) -> dict[str, Featurizer]:
        """Give the networks of all engines, by their SHA-256."""
        return {
            ref.sha256: network
            for engine in self._engines.values()
            for ref, network in zip(engine.profile.networks, engine.featurizers, strict=False)
        }

    def forget(self, committed: Mapping[int, int]) -> None:
        """Drop what rules no event from the committed offsets on, by partition."""
        for partition, rulings in self.rulings.items():
            if len(rulings.points) > 1:
                self.rulings[partition] = rulings.since(rulings.life, committed.get(partition, 0))
        self._keep({*self._ruling(), self.own.profile.hash})

    def _hash(self, source: Source) -> str:
        rulings = self.rulings.get(source.partition)
        return self.own.profile.hash if rulings is None else rulings.at(source.offset).profile

    def _keep(self, profiles: Iterable[str]) -> None:
        self._engines = {each: self._engines[each] for each in profiles if each in self._engines}

    def _ruling(self) -> set[str]:
        return {point.profile for rulings in self.rulings.values() for point in rulings.points}
