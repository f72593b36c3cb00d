"""What an account holds in memory is measured, without asking its detectors."""

from __future__ import annotations

import gc
import tracemalloc
from collections import deque
from typing import Any

import numpy as np
import pytest

from gamekeeper.detectors.engine import Arrival, DetectorProfile, Engine, Profile, Source, resolve
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.worker import account_rows
from gamekeeper.stream.worker.account_rows import Entry
from gamekeeper.stream.worker.changelog import Tenure
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.footprint import footprint
from gamekeeper.stream.worker.store import Store

OPTIONS: dict[str, dict[str, Any]] = {
    "prada": {},
    "prada-v1": {},
    "similarity": {"delta": 0.1},
    "likelihood": {},
    "ood": {"cut": 0.0},
    "rate": {},
    "steps": {"history": 10_000},
    "spacing": {"usual": "0,0,1", "history": 10_000},
}
READING = {**OPTIONS, "novelty": {"habits": "prada,rate;0,0;1,1;0,0"}}
FEATURES = {"embedding": 64, "log_likelihood": 1, "ood": 1}
OF_AN_INDEX = 300
"""Bytes of an empty FAISS index, by what many of them added to the process."""


def feed(engine: Engine, store: Store, accounts: range, events: int, shape: tuple[int, ...]) -> int:
    """Let accounts send events, of `(rows, columns)` uint8; count what FAISS holds for them."""
    rng = np.random.default_rng(0)
    offset = 0
    for _ in range(events):
        for number in accounts:
            event = QueryEvent(
                id=str(offset),
                account=f"account-{number}",
                model="digits",
                time=offset * 1000,
                inputs=Tensor.from_array(rng.integers(0, 256, shape).astype(np.uint8)),
                labels=rng.integers(0, 10, shape[0]).tolist(),
            )
            features = {
                name: rng.normal(size=(shape[0], length)).astype(np.float32)
                for name, length in FEATURES.items()
            }
            source = Source("queries", 0, offset)
            entry = store.open((event.account, event.model), source, {}.get)
            engine.process([Arrival(event, source, features)])
            assert list(entry.rows())  # what waits to be written is handed out
            offset += 1
        store.evict()
    kept = {"similarity": 4 * FEATURES["embedding"], "steps": shape[1], "spacing": shape[1] + 8}
    sizes = [kept.get(each.detector, 0) for each in engine.profile.detectors]
    indexes = [events * shape[0] * size + OF_AN_INDEX for size in sizes if size]
    return len(accounts) * sum(indexes)


def test_arrays_are_counted_once_and_whole() -> None:
    """Views of one array, however many, count as that array."""
    array = np.zeros((1000, 10))
    shared = [array, array[:1], array.reshape(-1)[::2], {"again": array}]
    assert array.nbytes < footprint(shared) < array.nbytes + 2000


@pytest.mark.parametrize("kind", [list, deque, set, tuple, dict])
def test_a_long_collection_is_as_large_as_its_items(kind: type) -> None:
    """Collections are not walked item by item, and count all the same."""
    size = 1000
    pairs = [(number + 10**6, bytes(100)) for number in range(size)]
    assert size * 190 < footprint(kind(pairs)) < size * 400


def test_what_neighbours_share_counts_once() -> None:
    """Items that lead to one and the same object do not each count it anew."""
    shared = bytes(10_000)
    assert footprint([(number, shared) for number in range(10_000)]) < 10_000 * (10_000 // 4)


@pytest.mark.parametrize(
    ("events", "shape"), [(1, (1, 784)), (20, (1, 10)), (8, (25, 784)), (1, (1500, 10))]
)
@pytest.mark.parametrize("names", [*[(each,) for each in OPTIONS], tuple(READING)])
def test_accounts_count_as_what_was_allocated(
    names: tuple[str, ...], events: int, shape: tuple[int, int]
) -> None:
    """Of many live accounts, the measure is within 20 % of what the allocators count."""
    detectors = tuple(DetectorProfile(detector=name, options=READING[name]) for name in names)
    engine = Engine(resolve(Profile(name="test", detectors=detectors)))
    store = Store(Engines(engine), 10**6, 2**40, {0: Tenure(1, 0)})
    many = min(100, max(4, 1200 // (events * shape[0])))
    feed(engine, store, range(2), events, shape)  # fills caches that all accounts share
    store.clear()
    gc.collect()
    tracemalloc.start()
    try:
        outside = feed(engine, store, range(many), events, shape)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] + outside
    finally:
        tracemalloc.stop()
    assert held * 0.8 < store.bytes < held * 1.2


def test_an_account_is_weighed_as_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weighing takes as long as scoring several queries: it is done for each eighth more."""
    weighed: list[int] = []
    engine = Engine(resolve(Profile(name="test", detectors=(DetectorProfile(detector="prada"),))))
    entry = Entry(("account", "digits"), engine.profile, Source("queries", 0, 0), Tenure(1, 0))
    monkeypatch.setattr(account_rows, "footprint", lambda _: weighed.append(1) or 0)
    for queries in range(1, 2001):
        entry.account.queries = queries
        entry.weigh()
    assert len(weighed) < 60
    entry.account.queries += 1000  # what is known of so many rows is let go with the next
    entry.weigh()
    weighed.clear()
    entry.account.queries += 1
    entry.weigh()
    assert weighed
