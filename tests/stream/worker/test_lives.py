"""The topic that the worker reads may be another one than before: nothing is skipped unread."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kafka import TopicPartition

from gamekeeper.stream.kafka import Settings, admin, apply, reaches, topic_ids
from gamekeeper.stream.worker.cluster import REMADE
from gamekeeper.stream.worker.lives import Life, Log, begin
from support.brokers import Broker, KafkaBroker, Names, kinds, local_kinds
from support.crashing import make_trace
from support.online import alarming, engine_of, expected, found
from support.retention import expire
from support.workers import SERVE, Worker, all_applied, delete, prepare, read, send, wait_for

SEEN = Life(3, "one")


@pytest.mark.parametrize(
    ("known", "log", "life", "offset", "lost"),
    [
        (None, Log("one", None, 0, 0), Life(0, "one"), 0, 0),
        (None, Log("one", 5, 0, 9), Life(0, "one"), 5, 0),
        (SEEN, Log("one", 5, 0, 9), SEEN, 5, 0),
        (SEEN, Log("one", None, 4, 9), SEEN, 4, 0),
        (SEEN, Log("one", 5, 7, 9), SEEN, 7, 2),  # expired
        (SEEN, Log("one", 12, 0, 9), Life(8, "one"), 9, 3),  # cut off
        (SEEN, Log("two", None, 0, 9), Life(8, "two"), 0, 0),  # made anew
        (SEEN, Log("two", 12, 2, 9), Life(8, "two"), 2, 0),
        (SEEN, Log("two", 5, 0, 9), Life(8, "two"), 5, 0),  # a mirror's, or an operator's
        (SEEN, Log("two", 5, 7, 9), Life(8, "two"), 7, 2),
        (SEEN, Log("", 5, 0, 9), SEEN, 5, 0),  # a broker without ids
        (Life(3, ""), Log("", 12, 0, 9), Life(8, ""), 9, 3),
        (Life(3, ""), Log("one", 5, 0, 9), SEEN, 5, 0),  # upgraded since
    ],
)
def test_where_reading_goes_on(
    known: Life | None, log: Log, life: Life, offset: int, lost: int
) -> None:
    """At what is committed in the same life; else loudly where nothing is skipped."""
    begun = begin(known, log, 8)
    assert (begun.life, begun.offset, begun.lost) == (life, offset, lost)
    quiet = life.number == (known or Life()).number and not lost
    assert bool(begun.told) != quiet


@pytest.fixture
def environ(broker: Broker, names: Names, tmp_path: Path) -> dict[str, str]:
    """A worker's environment with the test's own topics, and a profile that alarms often."""
    return alarming(broker, names, tmp_path)


def remake(settings: Settings, *topics: str) -> None:
    """Delete topics, and make them anew once they are gone."""
    delete(settings, *topics)
    apply(settings)
    wait_for(lambda: len(topic_ids(settings, topics)) == len(topics))


@pytest.mark.broker
@pytest.mark.parametrize("store", ["memory", "rocksdb"])
def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    environ: dict[str, str], store: str
) -> None:
    """Accounts go on from their state; the log and the next restart know of the new life."""
    environ["GAMEKEEPER_STORE"] = store
    settings = prepare(environ)
    engine = engine_of(settings)
    first, second, third = make_trace(600), make_trace(500, seed=1), make_trace(300, seed=2)
    send(settings, first)
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert worker.terminate() == 0
    verdicts = expected(settings, engine)
    remake(settings, settings.topics.queries)
    send(settings, second)
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert "made anew; reading from its beginning" in worker.logged()
        assert worker.terminate() == 0
    with Worker(environ) as worker:
        wait_for(worker.ready)
        send(settings, third)
        wait_for(lambda: all_applied(settings))
        assert "made anew" not in worker.logged()
    verdicts |= expected(settings, engine)
    assert found(settings) == verdicts


@pytest.mark.broker
@pytest.mark.parametrize("broker", [each for each in kinds() if each != "embedded"], indirect=True)
def test_a_topic_that_is_made_anew_while_it_is_read_ends_the_worker(
    environ: dict[str, str],
) -> None:
    """It says so, with a status of its own, and the next one reads the new topic.

    The embedded broker makes a deleted topic again for whoever asks for it, with other partitions.
    """
    settings = prepare(environ)
    engine = engine_of(settings)
    send(settings, make_trace(300))
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        verdicts = expected(settings, engine)
        remake(settings, settings.topics.queries)
        wait_for(lambda: not worker.alive(), 60)
        assert worker.terminate() == REMADE
        assert "the queries topic was made anew; stopping" in worker.logged()
    send(settings, make_trace(500, seed=1))
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert worker.terminate() == 0
    assert found(settings) == verdicts | expected(settings, engine)


@pytest.mark.broker
def test_a_changelog_that_was_made_anew_is_not_mixed_with_what_is_kept_here(
    environ: dict[str, str],
) -> None:
    """Queries and changelog are new, RocksDB is not: it is thrown away, and said so."""
    settings = prepare(environ)
    send(settings, make_trace(600))
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert worker.terminate() == 0
    remake(settings, settings.topics.queries, settings.changelog, settings.topics.verdicts)
    send(settings, make_trace(400, seed=1))
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert "the changelog was made anew" in worker.logged()
        assert worker.metric("gamekeeper_events_total", outcome="skipped") == 0
    assert found(settings) == expected(settings)


@pytest.mark.broker
@pytest.mark.parametrize("broker", [each for each in kinds() if each != "embedded"], indirect=True)
def test_a_worker_goes_on_where_retention_has_passed_it(environ: dict[str, str]) -> None:
    """What has expired unread is counted and told; what is left is applied.

    The embedded broker cannot remove records.
    """
    settings = prepare(environ)
    send(settings, make_trace(300), partition=0)
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert worker.terminate() == 0
    send(settings, make_trace(600, seed=1), partition=0)
    place = TopicPartition(settings.topics.queries, 0)
    [end] = [r.offset for r in read(settings, settings.topics.queries) if r.partition == 0][-1:]
    with admin(settings) as client:
        client.delete_records({place: end - 9})
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert worker.metric("gamekeeper_events_total", outcome="applied") == 10
        assert worker.metric("gamekeeper_records_lost_total") > 0
        assert "have expired before they were read" in worker.logged()


# Run first, it lets Faust look all the time, not every few seconds, for partitions that hang.
LOOKING = """
import asyncio, sys
from faust.transport.consumer import Consumer
look = Consumer.verify_all_partitions_active
async def always(self):
    print("looking", file=sys.stderr, flush=True)
    while not self.should_stop:
        await look(self)
        await asyncio.sleep(0.001)
Consumer.verify_all_partitions_active = always
"""


@pytest.mark.broker
@pytest.mark.parametrize("broker", [each for each in kinds() if each != "embedded"], indirect=True)
def test_what_expires_while_a_worker_runs_is_counted(environ: dict[str, str]) -> None:
    """Kafka's client goes on behind it in silence; each record is applied or told as lost."""
    environ["GAMEKEEPER_SESSION_TIMEOUT"] = "30"
    settings = prepare(environ)
    with Worker(environ, [sys.executable, "-c", LOOKING + SERVE]) as worker:
        wait_for(lambda: worker.ready() and "looking" in worker.logged())
        worker.suspend()
        send(settings, make_trace(600), partition=0)
        count = len(read(settings, settings.topics.queries))
        expire(settings, settings.topics.queries, 0, count - 10)
        worker.wake()
        wait_for(lambda: all_applied(settings))
        lost = worker.metric("gamekeeper_records_lost_total")
        assert lost > 0
        assert lost + worker.metric("gamekeeper_events_total", outcome="applied") == count
        assert "have expired before they were read" in worker.logged()


@pytest.mark.broker
@pytest.mark.parametrize(
    "own_broker", [each for each in local_kinds() if each != "embedded"], indirect=True
)
def test_a_log_that_is_cut_off_while_it_is_read_ends_the_worker(
    own_broker: KafkaBroker, names: Names, tmp_path: Path
) -> None:
    """The broker's disk lost its last records: the next start tells it, and goes on behind them."""
    environ = alarming(own_broker, names, tmp_path)
    settings = prepare(environ)
    topic = settings.topics.queries
    with Worker(environ) as worker:
        wait_for(worker.ready)
        send(settings, make_trace(60), partition=0)
        size, count = own_broker.log(topic, 0).stat().st_size, len(read(settings, topic))
        send(settings, make_trace(60, seed=1), partition=0)
        wait_for(lambda: all_applied(settings))
        lost = len(read(settings, topic)) - count
        own_broker.kill()
        own_broker.lose(topic, 0, size)
        own_broker.start()
        wait_for(lambda: not worker.alive())
        assert worker.terminate() == REMADE
        assert "ends before what was read of it" in worker.logged()
        worker.start()
        wait_for(lambda: worker.metric("gamekeeper_records_lost_total") == lost)
        send(settings, make_trace(60, seed=2), partition=0)
        wait_for(lambda: all_applied(settings))
        news = len(read(settings, topic)) - count
        assert worker.metric("gamekeeper_events_total", outcome="applied") == news


@pytest.mark.broker
def test_a_log_is_known_to_reach_as_far_as_it_was_read(environ: dict[str, str]) -> None:
    """Also in the middle of the last batch, where the embedded broker tells a lower end."""
    settings = prepare(environ)
    send(settings, make_trace(60), partition=0)
    count = len(read(settings, settings.topics.queries))
    assert count > 10
    for offset in (1, count - 1, count):
        assert reaches(settings, settings.topics.queries, 0, offset)
    assert not reaches(settings, settings.topics.queries, 0, count + 5)
