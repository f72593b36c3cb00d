"""Thousands of accounts touched at once: opened in parts, within the memory that is allowed."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gamekeeper.detectors.engine import DetectorProfile, Engine, Profile, resolve
from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.worker import opening
from gamekeeper.stream.worker.changelog import Stored, Tenure
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.opening import Records
from gamekeeper.stream.worker.scoring import Scored, Scorer
from gamekeeper.stream.worker.shares import Shares
from gamekeeper.stream.worker.store import Store

OPTIONS: dict[str, dict[str, Any]] = {"prada": {"mode": "paper"}, "similarity": {"delta": 0.1}}
COLUMNS = 784
NO_BOUND = 2**40


def record(account: str, offset: int, rows: int, model: str = "digits", **changes: Any) -> Any:
    """Make a record as Faust hands it over; its rows follow from account and offset."""
    rng = np.random.default_rng([offset, *account.encode()])
    event = QueryEvent(
        id=f"{account}-{offset}",
        account=account,
        model=model,
        time=offset,
        inputs=Tensor.from_array(rng.integers(0, 256, (rows, COLUMNS)).astype(np.uint8)),
        labels=rng.integers(0, 4, rows).tolist(),
        embedding=Tensor.from_array(rng.normal(size=(rows, 8)).astype(np.float32)),
    )
    message = SimpleNamespace(topic="queries", partition=0, offset=offset)
    fields = {"key": event_key(account), "value": encode_event(event), **changes}
    return SimpleNamespace(message=message, **fields)


class Service:
    """What the worker does with micro-batches, over rows in a dict."""

    def __init__(
        self, rows: dict[bytes, Stored], max_bytes: int, names: tuple[str, ...] = ("prada",)
    ) -> None:
        """Start with nothing in memory."""
        detectors = tuple(DetectorProfile(detector=name, options=OPTIONS[name]) for name in names)
        self.engine = Engine(resolve(Profile(name="test", model="digits", detectors=detectors)))
        self.rows = rows
        engines = Engines(self.engine)
        self.store = Store(engines, 10_000, max_bytes, {0: Tenure(1, 0)})
        self.scorer = Scorer(engines, self.store, rows.get, lambda _: nullcontext(), Metrics())
        self.parts: list[Records] = []

    def take(self, records: list[Any]) -> Scored:
        """Bring a micro-batch from events to rows."""
        told = Scored()
        shares = Shares(self.scorer.read, lambda partition, _: (partition, 0))
        for record in records:
            shares.put(record)
        while turn := shares.take():
            assert isinstance(turn, Records)
            for part, scored in self.scorer.parts(turn):
                for row in scored.rows:
                    if row.value is None:
                        self.rows.pop(row.key, None)
                    else:
                        data = bytes(memoryview(row.value))  # not its encoder's room
                        self.rows[row.key] = Stored(row.epoch, data)
                scored.rows.clear()
                self.parts.append(part)
                self.store.evict()
                told.add(scored)
        return told


def names_of(count: int) -> list[str]:
    """Name accounts."""
    return [f"account-{number}" for number in range(count)]


def stored(accounts: list[str], rows: int) -> dict[bytes, Stored]:
    """Let each account send so many queries; give what is stored of them."""
    service = Service({}, NO_BOUND)
    for offset, account in enumerate(accounts):
        service.take([record(account, offset, rows)])
        service.store.clear()
    return service.rows


def test_cold_accounts_keep_the_bound_at_every_moment() -> None:
    """Of 60 accounts of 1 MB that one micro-batch touches, at no time more are open than may be."""
    accounts = names_of(60)
    rows = stored(accounts, 250)
    bound = 16 * 2**20
    records = [record(account, 100 + at, 1) for at, account in enumerate(accounts * 2)]
    truth = Service(dict(rows), NO_BOUND)
    expected = truth.take(records)
    assert truth.store.bytes > 3 * bound
    del truth
    service = Service(rows, bound)
    gc.collect()
    tracemalloc.start()
    try:
        found = service.take(records)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * bound
    assert sorted(map(statistics, found.outcomes)) == sorted(map(statistics, expected.outcomes))
    assert 8 * 2**20 < service.store.bytes <= bound


def statistics(outcome: Any) -> str:
    """Tell all that came of an event."""
    event = outcome.arrival.event
    return f"{event.id} {outcome.first} {outcome.statistics} {outcome.verdicts}"


def test_what_events_add_is_given_room_before() -> None:
    """Accounts that are new, and grow by large events, do not go beyond the bound either."""
    accounts = names_of(30)
    records = [record(account, at, 200) for at, account in enumerate(accounts)]
    bound = 8 * 2**20
    Service({}, NO_BOUND).take(records[:1])  # fills caches
    service = Service({}, bound)
    gc.collect()
    tracemalloc.start()
    try:
        for at in range(0, len(records), 10):
            service.take(records[at : at + 10])
            service.parts.clear()
        peak = tracemalloc.get_traced_memory()[1]
        left = sum(len(row.data) for row in service.rows.values())
    finally:
        tracemalloc.stop()
    assert left > 2 * 2**20
    assert peak - left < 1.2 * bound + 10 * len(records[0].value)


@pytest.mark.parametrize("megabytes", [1, 8, 2**20])
def test_verdicts_do_not_depend_on_the_memory(megabytes: int) -> None:
    """With any bound, over many micro-batches, each event leads to the same, bit for bit."""
    names = ("prada", "similarity")
    accounts = names_of(12)
    rng = np.random.default_rng(1)
    records = [
        record(accounts[at], number, 25) for number, at in enumerate(rng.integers(0, 12, 120))
    ]
    truth = Service({}, NO_BOUND, names)
    service = Service({}, megabytes * 2**20, names)
    for at in range(0, len(records), 30):
        batch = records[at : at + 30]
        found, expected = service.take(batch), truth.take(batch)
        assert sorted(map(statistics, found.outcomes)) == sorted(map(statistics, expected.outcomes))
        assert sorted(found.verdicts) == sorted(expected.verdicts)
        assert service.store.bytes <= max(megabytes * 2**20, 2**21)


def test_every_record_is_in_one_part_and_every_account_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut as finely as can be, no record is lost, doubled or moved among its account's."""
    monkeypatch.setattr(opening, "MOST_ACCOUNTS", 1)
    accounts = names_of(7)
    records = [record(account, at, 2) for at, account in enumerate(accounts * 3)]
    records.insert(4, record("x", 50, 1, value=b"garbage"))
    records.insert(9, record("y", 51, 1, model="other"))
    service = Service({}, NO_BOUND)
    service.take(records)
    assert len(service.parts) == len(accounts)
    assert sorted(each.message.offset for part in service.parts for each in part.events) == sorted(
        each.message.offset for each in records
    )
    for part in service.parts:
        keys = [item.key for item in part.items if item.key[1] == "digits"]
        offsets = [item.arrival.source.offset for item in part.items]
        assert len(set(keys)) == 1
        assert offsets == sorted(offsets)
        assert part.rows == sum(len(item.arrival.event) for item in part.items)
    assert len(service.parts[0].letters) == 1
    assert not any(part.letters for part in service.parts[1:])


def test_opening_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much memory there is, what is open after the time allowed is scored and saved."""
    monkeypatch.setattr(opening, "SECONDS", 0)
    service = Service({}, NO_BOUND)
    service.take([record(account, at, 1) for at, account in enumerate(names_of(5))])
    assert [len(part.events) for part in service.parts] == [1] * 5


def test_what_is_hot_stays_hot_where_there_is_room() -> None:
    """Accounts that fit stay open from batch to batch, and are not read again."""
    accounts = names_of(20)
    rows = stored(accounts, 5)
    reads: list[bytes] = []
    service = Service(rows, 2**30)
    service.scorer._get = lambda key: reads.append(key) or rows.get(key)
    for first in (100, 200):
        service.take([record(account, first + at, 1) for at, account in enumerate(accounts)])
        counted = len(reads)
    assert counted == len(set(reads))
    assert len(service.parts) == 2


def test_accounts_begun_anew_stay_until_they_are_saved() -> None:
    """Where no stored account can be read, and none fits beside another, each is begun anew."""
    accounts = names_of(5)
    rows = dict.fromkeys(stored(accounts, 1), Stored(1, b"garbled"))
    service = Service(rows, 1)
    found = service.take([record(account, 100 + at, 1) for at, account in enumerate(accounts)])
    assert [outcome.first for outcome in found.outcomes] == [0] * 5
    assert len(service.store) == 1
