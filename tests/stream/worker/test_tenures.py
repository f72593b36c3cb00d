"""Partitions that are let go while the worker still finds out where to read them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from faust.types import TP

from gamekeeper.detectors.engine import Engine, default_profile
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.worker import tenures as module
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.profiles import Profiles
from gamekeeper.stream.worker.rulings import encoded, ruled_by
from gamekeeper.stream.worker.tenures import Tenures

PLACE = TP("gamekeeper.queries", 0)


class Outbox:
    """Acknowledges at once."""

    def __init__(self) -> None:
        """Begin with nothing kept."""
        self.kept: list[Any] = []

    async def write(self, rows: list[Any]) -> list[Any]:
        """Give what is to be kept."""
        return rows

    def keep(self, written: list[Any]) -> None:
        """Keep it."""
        self.kept += written


class Broker:
    """Answers, after something has happened."""

    def __init__(self, tenures: Tenures, let_go: str) -> None:
        """Let partitions go while it is asked for that."""
        self._tenures = tenures
        self._let_go = let_go

    async def offsets(self, *places: Any) -> dict[Any, int]:
        """Give offsets of partitions."""
        if self._let_go == "offsets":
            self._tenures.clear()
        return dict.fromkeys(places, 0)

    def topic_ids(self, *_: Any) -> dict[str, str]:
        """Give the topic's id."""
        if self._let_go == "topic":
            self._tenures.clear()
        return {PLACE.topic: "one"}


@pytest.fixture
def taking() -> tuple[Tenures, Outbox]:
    """A worker that has begun to take a partition over, whose rows a worker before it has left."""
    settings = Settings()
    engines = Engines(Engine(default_profile()))
    rows = {b"profile": encoded(ruled_by(engines.own.profile.hash, 0))}
    table = SimpleNamespace(data=SimpleNamespace(read=lambda _, key: rows.get(key)))
    outbox = Outbox()
    profiles = Profiles(settings, engines, Metrics())
    tenures = Tenures(None, table, settings, outbox, Metrics(), profiles, engines)
    begin(tenures, 7)
    return tenures, outbox


def begin(tenures: Tenures, epoch: int) -> None:
    """Begin a tenure; its rows are not restored yet."""
    tenures._epochs, tenures._owns = {0: epoch}, AsyncMock(return_value=True)


@pytest.mark.parametrize("let_go", ["", "offsets", "topic"])
def test_nothing_is_taken_that_was_let_go_meanwhile(
    let_go: str, taking: tuple[Tenures, Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose partitions are revoked in the middle of it neither ends nor holds them."""
    tenures, outbox = taking
    tenures.restored()
    broker = Broker(tenures, let_go)
    monkeypatch.setattr(module, "topic_ids", broker.topic_ids)
    starts = asyncio.run(tenures.starts({PLACE: None}, {}, broker.offsets, broker.offsets))
    rulings = tenures._engines.rulings
    if let_go:
        assert (starts, tenures.held, rulings, outbox.kept) == ({}, {}, {}, [])
    else:
        assert starts == {PLACE: 0}
        assert set(tenures.held) == set(rulings) == {0}
        assert [row.kind for row in outbox.kept] == ["life"]


def test_a_restore_says_nothing_of_the_partitions_that_come_after_it(
    taking: tuple[Tenures, Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ends after its partitions were let go: rows of the next are not taken for read."""
    tenures, outbox = taking
    broker = Broker(tenures, "")
    monkeypatch.setattr(module, "topic_ids", broker.topic_ids)

    def starts() -> dict[Any, int]:
        return asyncio.run(tenures.starts({PLACE: None}, {}, broker.offsets, broker.offsets))

    tenures.clear()
    tenures.restored()
    begin(tenures, 9)
    assert (starts(), tenures.held, outbox.kept) == ({}, {}, [])
    tenures.restored()
    assert starts() == {PLACE: 0}
    assert tenures.held[0].epoch == 9
