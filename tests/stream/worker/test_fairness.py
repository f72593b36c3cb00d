"""An account that sends without pause: the others go on, and its own events lead to the same."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from kafka.partitioner import murmur2

from gamekeeper.schemas.event import QueryEvent, decode_event, encode_event, event_key
from gamekeeper.schemas.scores import decode_scores
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.kafka import Settings
from support.brokers import Broker, Names, kinds
from support.online import alarming, expected, found
from support.retention import expire
from support.workers import PARTITIONS, SERVE, Record, Worker, prepare, read, send, wait_for

pytestmark = pytest.mark.broker

LARGE = 800
KILLED = """
import os, signal
from gamekeeper.detectors.engine import Slices
step = Slices.step
calls = []
def die(self, rows):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    step(self, rows)
Slices.step = die
"""
SLOW = """
import time
from gamekeeper.stream.worker.scoring import Scorer
score = Scorer._score
def slowly(self, records):
    time.sleep(0.05)
    return score(self, records)
Scorer._score = slowly
"""
GATED = """
import os, time
from gamekeeper.stream.worker.scoring import Scorer
score = Scorer._score
def wait(self, records):
    while not os.path.exists({!r}):
        time.sleep(0.05)
    return score(self, records)
Scorer._score = wait
"""


@pytest.fixture
def environ(broker: Broker, names: Names, tmp_path: Path) -> dict[str, str]:
    """A worker's environment with the test's own topics, scores, and a profile that alarms."""
    return {**alarming(broker, names, tmp_path), "GAMEKEEPER_SCORES": "true"}


def neighbours() -> Iterator[str]:
    """Name accounts of one partition."""
    for number in range(10_000):
        name = f"account-{number}"
        if (murmur2(name.encode()) & 0x7FFFFFFF) % PARTITIONS == 0:
            yield name


FLOOD, *OTHERS = islice(neighbours(), 21)


def event(account: str, number: int, rows: int) -> Record:
    """Make an event whose rows follow from account and number."""
    rng = np.random.default_rng([number, *account.encode()])
    made = QueryEvent(
        id=f"{account}/{number}",
        account=account,
        model="digits",
        time=number * 1000,
        inputs=Tensor.from_array(rng.gamma(0.5, size=(rows, 16)).astype(np.float32)),
        labels=rng.integers(0, 3, rows).tolist(),
    )
    return event_key(account), encode_event(made)


def scored(settings: Settings) -> list[tuple[str, int]]:
    """Tell whose events were applied, in the order in which they were."""
    records = read(settings, settings.topics.scores)
    told = [decode_scores(each.value).event.split("/") for each in records]
    return [(account, int(number)) for account, number in told]


def applied(worker: Worker) -> float:
    """Count what a worker has applied or skipped."""
    return worker.metric("gamekeeper_events_total")


def in_order(settings: Settings) -> None:
    """Check that each account's events were applied in their order; some may be told twice."""
    sent: dict[str, list[int]] = {}
    for record in read(settings, settings.topics.queries):
        account, number = decode_event(record.value).id.split("/")
        sent.setdefault(account, []).append(int(number))
    told: dict[str, dict[int, None]] = {}
    for account, number in scored(settings):
        told.setdefault(account, {})[number] = None
    assert {account: list(numbers) for account, numbers in told.items()} == sent


@pytest.mark.parametrize("rows", [LARGE, 1])
def test_a_flood_does_not_delay_others(environ: dict[str, str], rows: int) -> None:
    """Behind a backlog of one account's events, large or many, others' come before most of it."""
    environ["GAMEKEEPER_BATCH_EVENTS"] = "128"
    count = 8 if rows == LARGE else 3000
    settings = prepare(environ)
    send(settings, [event(FLOOD, number, rows) for number in range(count)])
    send(settings, [event(account, 0, 1) for account in OTHERS])
    with Worker(environ) as worker:
        wait_for(lambda: applied(worker) == count + len(OTHERS))
        assert worker.metric("gamekeeper_held_back_records") == 0
        assert worker.terminate() == 0
    order = scored(settings)
    before = [number for account, number in order[: order.index((OTHERS[-1], 0))]]
    assert max(before) < (2 if rows == LARGE else 2000)
    in_order(settings)
    assert found(settings) == expected(settings)


def test_what_is_held_back_survives_a_rebalance(environ: dict[str, str], tmp_path: Path) -> None:
    """Workers are killed and started while a flood is held back: all is applied, in order."""
    environ["GAMEKEEPER_BATCH_EVENTS"] = "64"
    settings = prepare(environ)
    flood = [event(FLOOD, number, 1) for number in range(3000)]
    others = [event(account, number, 2) for number in range(20) for account in OTHERS]
    other = {**environ, "GAMEKEEPER_DATA_DIR": str(tmp_path / "other")}
    slowly = [sys.executable, "-c", SLOW + SERVE]
    with Worker(environ, slowly) as first, Worker(other, slowly) as second:
        wait_for(first.ready)
        wait_for(second.ready)
        send(settings, [*flood[:1500], *others[:200]])
        wait_for(lambda: held(first, second) > 500)
        (first if first.metric("gamekeeper_held_back_records") else second).kill()
        send(settings, [*flood[1500:], *others[200:]])
        left = second if second.alive() else first
        wait_for(lambda: held(left) > 500)
        (second if left is first else first).start()
        wait_for(lambda: len(set(scored(settings))) == len(flood) + len(others))
        in_order(settings)
    assert found(settings) == expected(settings)


def held(*workers: Worker) -> float:
    """Count what is held back."""
    return sum(each.metric("gamekeeper_held_back_records") for each in workers)


def test_a_worker_killed_amid_a_large_event_begins_it_anew(environ: dict[str, str]) -> None:
    """Of an event whose slices were not all scored nothing is written, and nothing is lost."""
    settings = prepare(environ)
    records = [event(FLOOD, number, LARGE if number % 2 else 5) for number in range(4)]
    others = [event(account, number, 3) for number in range(40) for account in OTHERS[:3]]
    send(settings, [*records, *others])
    with Worker(environ, [sys.executable, "-c", KILLED + SERVE]) as worker:
        wait_for(lambda: not worker.alive())
    assert (FLOOD, 1) not in scored(settings)
    with Worker(environ) as worker:
        wait_for(lambda: len(set(scored(settings))) == len(records) + len(others))
        assert worker.terminate() == 0
    in_order(settings)
    assert found(settings) == expected(settings)


@pytest.mark.parametrize("broker", [k for k in kinds() if k != "embedded"], indirect=True)
def test_held_back_records_that_expire_are_counted(environ: dict[str, str], tmp_path: Path) -> None:
    """Where retention is faster than an account's turn, the worker goes on with what is left."""
    settings = prepare(environ)
    environ["GAMEKEEPER_BATCH_EVENTS"] = "64"
    gate = tmp_path / "gate"
    with Worker(environ, [sys.executable, "-c", GATED.format(str(gate)) + SERVE]) as worker:
        wait_for(worker.ready)
        send(settings, [event(FLOOD, number, 1) for number in range(3000)])
        wait_for(lambda: held(worker) > 2500)
        expire(settings, settings.topics.queries, 0, 2500)
        gate.touch()
        send(settings, [event(FLOOD, 3000, 1)])
        wait_for(lambda: (FLOOD, 3000) in scored(settings))
        lost = worker.metric("gamekeeper_records_lost_total")
        assert 1000 < lost < 2500
        assert applied(worker) == 3001 - lost
        wait_for(lambda: not worker.metric("gamekeeper_consumer_lag"))
