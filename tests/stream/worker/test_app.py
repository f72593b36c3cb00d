"""The worker from end to end: events over TCP in, verdicts, scores and dead letters out."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gamekeeper.schemas.event import QueryEvent, decode_event, encode_event, event_key
from gamekeeper.schemas.scores import decode_scores
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.kafka import Settings
from support.brokers import Broker, Names
from support.crashing import PROFILE, QUERIES_PER_ACCOUNT, make_trace
from support.online import alarming, expected, found
from support.workers import (
    SERVE,
    Record,
    Worker,
    all_applied,
    prepare,
    read,
    send,
    wait_for,
)

pytestmark = pytest.mark.broker

LOST_VERDICTS = """
import asyncio
import gamekeeper.stream.worker.outbox
send = gamekeeper.stream.worker.outbox.Outbox.send_verdicts
calls = []
async def send_verdicts(self, verdicts):
    calls.append(1)
    if len(calls) == 1:
        await asyncio.sleep(0.5)
        raise TimeoutError("no acknowledgement")
    await send(self, verdicts)
gamekeeper.stream.worker.outbox.Outbox.send_verdicts = send_verdicts
"""
SLOW = """
import time
import gamekeeper.stream.worker.scoring
gamekeeper.stream.worker.shares.QUANTUM = 20
score = gamekeeper.stream.worker.scoring.Scorer._score
def slowly(self, records):
    time.sleep(0.5)
    return score(self, records)
gamekeeper.stream.worker.scoring.Scorer._score = slowly
"""
SLOW_TO_OPEN = """
import time
from gamekeeper.stream.worker.account_rows import Entry
restore = Entry.restore
def slowly(self, *arguments):
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:
        pass
    restore(self, *arguments)
Entry.restore = slowly
"""


@pytest.fixture
def environ(broker: Broker, names: Names, tmp_path: Path) -> dict[str, str]:
    """A worker's environment with the test's own topics, and a profile that alarms often."""
    return alarming(broker, names, tmp_path)


def test_events_become_verdicts_and_scores(environ: dict[str, str]) -> None:
    """The service writes exactly the verdicts that the engine gives offline, and every score."""
    environ["GAMEKEEPER_SCORES"] = "true"
    settings = prepare(environ)
    trace = make_trace(3000)
    with Worker(environ) as worker:
        send(settings, trace[: len(trace) // 2])
        wait_for(worker.ready)
        send(settings, trace[len(trace) // 2 :])
        wait_for(lambda: all_applied(settings))
        assert worker.metric("gamekeeper_queries_total") == 3000
        assert worker.metric("gamekeeper_events_total", outcome="applied") == len(trace)
        assert worker.metric("gamekeeper_consumer_lag") == 0
        assert worker.terminate() == 0
    truth = expected(settings)
    assert len(truth) > 20
    assert found(settings) == truth
    scores = [decode_scores(each.value) for each in read(settings, settings.topics.scores)]
    assert sorted(int(each.event) for each in scores) == list(range(len(trace)))
    assert all(set(each.statistics) == {"prada", "prada-v1"} for each in scores)
    assert not read(settings, settings.topics.dead_letters)


@pytest.mark.parametrize(("store", "folders"), [("rocksdb", "aab"), ("memory", "aa")])
def test_a_restart_goes_on_where_it_was(environ: dict[str, str], store: str, folders: str) -> None:
    """Stopped and started again, in its folder or an empty one, the worker knows all accounts."""
    environ["GAMEKEEPER_STORE"] = store
    home = environ["GAMEKEEPER_DATA_DIR"]
    settings = prepare(environ)
    trace = make_trace(2400)
    for start, folder in enumerate(folders):
        send(settings, trace[start :: len(folders)])
        with Worker({**environ, "GAMEKEEPER_DATA_DIR": home + folder}) as worker:
            wait_for(lambda: all_applied(settings))
            assert worker.terminate() == 0
    assert found(settings) == expected(settings)


def seen(settings: Settings) -> list[tuple[str, int]]:
    """Read the scores topic: account and index of each query that was scored."""
    told = [decode_scores(each.value) for each in read(settings, settings.topics.scores)]
    return sorted(
        (each.account, each.query + row)
        for each in told
        for row in range(len(each.statistics["prada"]))
    )


def test_another_topic_is_read_from_its_beginning(environ: dict[str, str], names: Names) -> None:
    """Told to read another topic, the worker applies all of it, to the accounts as they were."""
    environ["GAMEKEEPER_SCORES"] = "true"
    trace = make_trace(600)
    for topic in ("queries", "others"):
        environ["GAMEKEEPER_TOPIC_QUERIES"] = names(topic)
        settings = prepare(environ)
        send(settings, trace)
        with Worker(environ) as worker:
            wait_for(lambda given=settings: all_applied(given))  # type: ignore[misc]
            assert worker.terminate() == 0
    queries = Counter(
        event.account
        for _, value in trace
        for event in [decode_event(value or b"")]
        for _ in event.labels
    )
    assert seen(settings) == sorted(
        (account, query) for account, count in queries.items() for query in range(2 * count)
    )


def test_other_models_are_neither_scored_nor_counted(environ: dict[str, str]) -> None:
    """Of a topic that holds two models' events, those that the profile names are told of alone."""
    environ["GAMEKEEPER_SCORES"] = "true"
    settings = prepare(environ)
    Path(settings.profile).write_text(json.dumps({**PROFILE, "model": "digits"}))
    other = [(key, (value or b"").replace(b"digits", b"glyphs")) for key, value in make_trace(200)]
    send(settings, [*other, *make_trace(300, seed=1)])
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        wait_for(lambda: worker.metric("gamekeeper_queries_total") == 300)
        events = len(read(settings, settings.topics.queries)) - len(other)
        assert worker.metric("gamekeeper_events_total") == events
        assert worker.terminate() == 0
    told = [decode_scores(each.value) for each in read(settings, settings.topics.scores)]
    assert [each.model for each in told] == ["digits"] * events


@pytest.mark.parametrize("store", ["rocksdb", "memory"])
def test_an_account_on_two_partitions_is_one_on_each(environ: dict[str, str], store: str) -> None:
    """Where producers disagree about an account's partition, neither's events are skipped."""
    environ |= {"GAMEKEEPER_SCORES": "true", "GAMEKEEPER_STORE": store}
    settings = prepare(environ)
    trace = make_trace(QUERIES_PER_ACCOUNT)
    for half in (trace[::2], trace[1::2]):
        for partition in (0, 1):
            send(settings, half, partition)
        with Worker(environ) as worker:
            wait_for(lambda: all_applied(settings))
            assert worker.terminate() == 0
    one = [("account-0", query) for query in range(QUERIES_PER_ACCOUNT)]
    assert seen(settings) == sorted(one + one)


def test_verdicts_that_could_not_be_sent_come_after_the_restart(environ: dict[str, str]) -> None:
    """No batch follows one whose verdicts are lost, with a backlog neither: all are made again."""
    environ["GAMEKEEPER_BATCH_EVENTS"] = "50"
    settings = prepare(environ)
    send(settings, make_trace(2400))
    with Worker(environ, [sys.executable, "-c", LOST_VERDICTS + SERVE]) as worker:
        wait_for(lambda: not worker.alive())
        assert worker.terminate() == 1
    assert not found(settings)
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert worker.terminate() == 0
    assert found(settings) == expected(settings)


def test_a_large_batch_is_left_between_its_parts(environ: dict[str, str]) -> None:
    """While a batch of many rows is worked on, health answers and a stop is not kept waiting."""
    settings = prepare(environ)
    Path(settings.profile).write_text(json.dumps({**PROFILE, "policy": {"mode": "latch"}}))
    rng = np.random.default_rng(0)
    count, rows = 200, 20  # half a second each: long enough for the stop to come on any machine
    events = [
        QueryEvent(
            id=str(number),
            account="alice",
            model="digits",
            time=number,
            inputs=Tensor.from_array(rng.gamma(0.5, size=(rows, 4)).astype(np.float32)),
            labels=rng.integers(0, 3, rows).tolist(),
        )
        for number in range(count)
    ]
    send(settings, [(event_key(each.account), encode_event(each)) for each in events])
    with Worker(environ, [sys.executable, "-c", SLOW + SERVE]) as worker:
        wait_for(lambda: worker.metric("gamekeeper_queries_total") > 0)
        assert worker.terminate() == 0
    assert not all_applied(settings)
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert 0 < worker.metric("gamekeeper_queries_total") < count * rows
    assert found(settings) == expected(settings)


def test_many_cold_accounts_do_not_keep_health_waiting(environ: dict[str, str]) -> None:
    """While hundreds of accounts are restored at once, for seconds, health answers all the time."""
    settings = prepare(environ)
    accounts = [f"account-{number}" for number in range(300)]
    events = {
        account: QueryEvent(
            id=account,
            account=account,
            model="digits",
            time=0,
            inputs=Tensor.from_array(np.ones((3, 4), np.float32)),
            labels=[0, 1, 2],
        )
        for account in accounts
    }
    records = [(event_key(account), encode_event(event)) for account, event in events.items()]
    send(settings, records)
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert worker.terminate() == 0
    send(settings, records)
    with Worker(environ, [sys.executable, "-c", SLOW_TO_OPEN + SERVE]) as worker:
        wait_for(lambda: worker.get("/livez")[0] == 200)
        slowest = applied = 0.0
        while applied < 3 * len(accounts):
            begun = time.monotonic()
            assert worker.get("/livez")[0] == 200
            slowest = max(slowest, time.monotonic() - begun)
            begun = time.monotonic()  # what stops one stops the other
            applied = worker.metric("gamekeeper_queries_total")
            slowest = max(slowest, time.monotonic() - begun)
            assert worker.alive()
        assert slowest < 1
        assert worker.metric("gamekeeper_consumer_lag") == 0
    assert found(settings) == expected(settings)


def broken(good: Record, chance: random.Random) -> Record:
    """Break a good event so that nothing can be read from it, or not what its key says."""
    key, value = good
    assert value is not None
    kind = chance.randrange(5)
    if kind == 0:
        return key, value[: chance.randrange(len(value))]
    if kind == 1:
        return key, None
    if kind == 2:
        return b"somebody else", value
    if kind == 3:
        return key, chance.randbytes(40)
    return None, value.replace(b"\xa5dtype\xa7float32", b"\xa5dtype\xa7complex")


def test_ten_thousand_broken_among_ten_thousand_good(environ: dict[str, str]) -> None:
    """Every good event is scored; every broken one is a dead letter with reason and source."""
    settings = prepare(environ)
    chance = random.Random(0)
    good = [
        (
            event_key(f"account-{number % 50}"),
            encode_event(
                QueryEvent(
                    id=str(number),
                    account=f"account-{number % 50}",
                    model="digits",
                    time=number,
                    inputs=Tensor.from_array(np.array([[chance.random()] * 4], np.float32)),
                    labels=[0],
                )
            ),
        )
        for number in range(10_000)
    ]
    bad = [broken(each, chance) for each in good]
    send(settings, [record for pair in zip(good, bad, strict=True) for record in pair])
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert worker.metric("gamekeeper_events_total", outcome="applied") == 10_000
        assert worker.metric("gamekeeper_dead_letters_total") == 10_000
        assert worker.metric("gamekeeper_dead_letters_total", reason="internal") == 0
    letters = read(settings, settings.topics.dead_letters)
    queries = {
        (each.partition, each.offset): each for each in read(settings, settings.topics.queries)
    }
    told = set()
    for letter in letters:
        headers = {name: value.decode() for name, value in letter.headers}
        place = int(headers["source_partition"]), int(headers["source_offset"])
        source = queries[place]
        assert headers["source_topic"] == settings.topics.queries
        assert (letter.key, letter.value) == (source.key, source.value)
        assert headers["reason"]
        assert headers["path"].startswith("$")
        told.add(place)
    assert len(told) == 10_000

    def known(pairs: list[Record]) -> list[tuple[bytes, bytes]]:
        return sorted((key or b"", value or b"") for key, value in pairs)

    assert known([(each.key, each.value) for each in letters]) == known(bad)
