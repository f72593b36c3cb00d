"""What the tap costs a model server: time on the request's thread, and memory without a broker.

    python tests/bench/bench_tap.py

Prints two tables. A request here is a small matrix product (the model), `record()`, and a pause of
a millisecond (the network); requests come one after the other. The first table shows the time
within `record()`, and the whole request without the pause. Its first row has no tap: there a bare
copy of the inputs stands in for `record()`, which shows the noise of the machine.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy; the model is not what is measured

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.stream.kafka import EmbeddedBroker, free_port
from gamekeeper.stream.tap import QueryTap
from support.proxy import ProxiedBroker, SlowProxy

REQUESTS = 2_000
FLOOD = 200_000
PAUSE = 0.001  # seconds
SLOW_DELAY, SLOW_RATE = 0.05, 1_000_000  # seconds per chunk, bytes per second
TOPIC = "gamekeeper.queries"


def make_topic(address: str) -> None:
    """Create the topic."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(TOPIC, num_partitions=8, replication_factor=1)])
    admin.close()


@contextmanager
def broker_up() -> Iterator[str]:
    """Run a broker."""
    with EmbeddedBroker() as broker:
        make_topic(broker.address)
        yield broker.address


@contextmanager
def broker_slow() -> Iterator[str]:
    """Run a broker behind a slow network."""
    with SlowProxy() as proxy, ProxiedBroker(proxy) as broker:
        make_topic(broker.address)
        proxy.delay, proxy.rate = SLOW_DELAY, SLOW_RATE
        yield f"127.0.0.1:{proxy.port}"


@contextmanager
def broker_down() -> Iterator[str]:
    """Name an address where nothing listens."""
    yield f"127.0.0.1:{free_port()}"


def copy_only(_: str, images: np.ndarray, __: np.ndarray) -> bool:
    """Stand in for `record()`."""
    return bool(images.tobytes())


def serve(images: np.ndarray, record: Callable[..., bool]) -> tuple[np.ndarray, np.ndarray]:
    """Answer requests; return the microseconds of each in `record` and in all."""
    weights = np.random.default_rng(1).random((784, 784), np.float32)
    inside, whole = np.zeros(REQUESTS), np.zeros(REQUESTS)
    for number in range(REQUESTS):
        start = time.perf_counter()
        scores = (images @ weights)[:, :10]
        labels, account = scores.argmax(axis=1), f"account-{number % 50}"
        called = time.perf_counter()
        record(account, images, labels)
        end = time.perf_counter()
        inside[number], whole[number] = end - called, end - start
        time.sleep(PAUSE)
    return inside * 1e6, whole * 1e6


def percentiles(values: np.ndarray) -> str:
    """Format p50 and p99."""
    return "".join(f"{value:9.1f}" for value in np.percentile(values, (50, 99)))


def measure_time() -> None:
    """Print the time table."""
    print(f"{REQUESTS} requests each; microseconds")
    print(f"{'broker':8}{'request':>10}{'record() p50':>14}{'p99':>7}{'request p50':>14}{'p99':>7}")
    for rows in (1, 32):
        images = np.random.default_rng(0).random((rows, 784), np.float32)
        inside, whole = serve(images, copy_only)
        print(f"{'no tap':8}{f'{rows} x 784':>10}   {percentiles(inside)}   {percentiles(whole)}")
        for name, broker in (("up", broker_up), ("slow", broker_slow), ("down", broker_down)):
            with broker() as address:
                tap = QueryTap(address, model="bench", close_timeout=0.5)
                inside, whole = serve(images, tap.record)
                counts = tap.close()
                print(f"{name:8}{f'{rows} x 784':>10}   {percentiles(inside)}   ", end="")
                print(
                    f"{percentiles(whole)}   delivered {counts.delivered}, "
                    f"dropped {counts.dropped_full}, failed {counts.failed}"
                )


def rss() -> float:
    """Measure the resident memory, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def flood(tap: QueryTap) -> None:
    """Record as fast as it goes; print what it does to memory."""
    images, labels = np.random.default_rng(0).random((1, 784), np.float32), np.array([1])
    before = rss()
    print(f"{'records':>10}{'queue MiB':>12}{'process MiB':>13}{'microseconds each':>20}")
    print(f"{0:10}{tap.stats().queued_bytes / 2**20:12.1f}{before:13.1f}")
    for part in range(1, 6):
        start = time.perf_counter()
        for number in range(FLOOD // 5):
            tap.record(f"account-{number % 50}", images, labels)
        each = (time.perf_counter() - start) / (FLOOD // 5) * 1e6
        queued = tap.stats().queued_bytes / 2**20
        print(f"{part * FLOOD // 5:10}{queued:12.1f}{rss():13.1f}{each:20.1f}")
    print(tap.close())


def measure_memory() -> None:
    """Print what a flood does while no broker is there, and after one has gone."""
    print(f"\n{FLOOD} records of 1 x 784 as fast as they go, default bounds; no broker")
    with broker_down() as address:
        flood(QueryTap(address, model="bench", close_timeout=0.5))
    print("\nthe same after the broker was killed: the producer holds them")
    with EmbeddedBroker() as broker:
        make_topic(broker.address)
        tap = QueryTap(broker.address, model="bench", close_timeout=0.5)
        tap.record("account", np.ones((1, 784), np.float32), [1])
        tap.flush(30)
        broker.kill()
        flood(tap)


if __name__ == "__main__":
    measure_time()
    measure_memory()
