"""Events per second of one worker beside a no-op Faust agent, and its latency at half that load.

    KAFKA_HOME=... python tests/bench/bench_load.py [--broker kafka|embedded] [--events N]

Both read the same backlog from the same broker in the same run, one process each: events of 784
float32 values per row (3.2 KB) of 200 accounts in 10 classes, 25 accounts on each of 8 partitions
(an uneven backlog ends in waits for the last partition's fetches, and these would be measured
instead). The no-op agent is `async for _ in stream: pass` with Faust's own defaults. The latency is
the worker's own histogram: from the producer's timestamp until all that the event led to is
acknowledged by the broker.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import numpy as np
from kafka.partitioner import murmur2
from prometheus_client.parser import text_string_to_metric_families

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.kafka import Settings, apply, free_port, producer
from support import brokers

ACCOUNTS = 200
CLASSES = 10
VALUES = 784
PARTITIONS = 8
NOOP = """
import os, sys, time
import faust
app = faust.App(os.environ["GAMEKEEPER_APP_ID"],
    broker="kafka://" + os.environ["KAFKA_BOOTSTRAP_SERVERS"], web_enabled=False,
    broker_session_timeout=6, broker_rebalance_timeout=6, topic_disable_leader=True)
topic = app.topic(os.environ["GAMEKEEPER_TOPIC_QUERIES"], key_type=bytes, value_type=bytes,
    key_serializer="raw", value_serializer="raw")
wanted = int(sys.argv.pop())
seen = 0
@app.agent(topic)
async def noop(stream):
    global seen
    start = None
    async for _ in stream:
        seen += 1
        if start is None:
            start, busy = time.perf_counter(), time.process_time()
        if seen == wanted:
            took, busy = time.perf_counter() - start, time.process_time() - busy
            os.write(2, b"rate %f %f\\n" % ((wanted - 1) / took, busy / wanted))
            os._exit(0)
app.Worker(quiet=True, loglevel="ERROR").execute_from_commandline()
"""


class Speed(NamedTuple):
    """Events per second, and CPU seconds per event."""

    rate: float
    busy: float


class Bench:
    """One broker with a topic of events, and what can be run on it."""

    def __init__(self, address: str) -> None:
        """Make topics of its own, so that earlier runs do not matter."""
        suffix = uuid.uuid4().hex[:8]
        self.port = free_port()
        self.environ = {
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": address,
            "GAMEKEEPER_APP_ID": f"bench-{suffix}",
            "GAMEKEEPER_TOPIC_QUERIES": f"queries-{suffix}",
            "GAMEKEEPER_TOPIC_VERDICTS": f"verdicts-{suffix}",
            "GAMEKEEPER_TOPIC_SCORES": f"scores-{suffix}",
            "GAMEKEEPER_TOPIC_DEAD_LETTERS": f"dead-letters-{suffix}",
            "GAMEKEEPER_TOPIC_PROFILES": f"profiles-{suffix}",
            "GAMEKEEPER_DATA_DIR": tempfile.mkdtemp(prefix="gamekeeper-bench-"),
            "GAMEKEEPER_PARTITIONS": str(PARTITIONS),
            "GAMEKEEPER_SESSION_TIMEOUT": "6",
            "GAMEKEEPER_REBALANCE_TIMEOUT": "6",
            "GAMEKEEPER_BATCH_EVENTS": "4096",
            "GAMEKEEPER_BATCH_WAIT_MS": "5",
            "GAMEKEEPER_HTTP_PORT": str(self.port),
            "GAMEKEEPER_LOG_LEVEL": "WARNING",
        }
        self.settings = Settings.from_env(self.environ)
        apply(self.settings)

    def fill(self, records: list[tuple[bytes, bytes]], rate: float | None = None) -> None:
        """Produce records, evenly at `rate` a second or as fast as it goes."""
        with producer(self.settings, linger_ms=5) as client:
            start = time.perf_counter()
            for number, (key, value) in enumerate(records):
                ahead = start + number / rate - time.perf_counter() if rate else 0.0
                if ahead > 0:
                    time.sleep(ahead)
                client.send(self.settings.topics.queries, key=key, value=value)
            client.flush()

    def noop(self, events: int) -> Speed:
        """Run the no-op agent over the backlog, measured from its first event to its last."""
        environ = {**self.environ, "GAMEKEEPER_APP_ID": f"noop-{uuid.uuid4().hex[:8]}"}
        command = [sys.executable, "-c", NOOP, str(events)]
        with tempfile.TemporaryDirectory() as folder:  # Faust leaves a folder where it runs
            done = subprocess.run(
                command,
                env=environ,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        rates = [line for line in done.stderr.splitlines() if line.startswith("rate ")]
        if not rates:
            raise SystemExit(done.stderr)
        _, rate, busy = rates[0].split()
        return Speed(float(rate), float(busy))

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Run the worker."""
        code = "from gamekeeper.stream.cli.serve import serve; serve()"
        process = subprocess.Popen([sys.executable, "-c", code], env=self.environ)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)

    def applied(self) -> float:
        """Ask the worker how many events it has applied so far; 0 before it answers."""
        return self.metric("gamekeeper_events_total", outcome="applied")

    def metric(self, name: str, **labels: str) -> float:
        """Read one of the worker's metrics."""
        return sum(value for each, value in self.samples(name) if labels.items() <= each.items())

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Read all of a metric's samples."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as response:
                text = response.read().decode()
        except OSError:
            return []
        families = text_string_to_metric_families(text)
        return [(s.labels, s.value) for f in families for s in f.samples if s.name == name]

    def speed(self, events: int) -> Speed:
        """Measure the starting worker from its first micro-batch to its last of `events`."""
        self.wait(1)
        count, start, busy = self.applied(), time.perf_counter(), self.busy()
        self.wait(events)
        done, took, busy = events - count, time.perf_counter() - start, self.busy() - busy
        return Speed(done / took, busy / done)

    def busy(self) -> float:
        """Ask the worker for the CPU seconds it has used."""
        return self.metric("process_cpu_seconds_total")

    def wait(self, events: float) -> None:
        """Wait until the worker has applied so many events in all."""
        while self.applied() < events:
            time.sleep(0.25)

    def buckets(self) -> dict[float, float]:
        """Read the latency histogram: events at most so many seconds old."""
        name = "gamekeeper_event_to_verdict_seconds_bucket"
        return {float(labels["le"]): value for labels, value in self.samples(name)}


def even_accounts() -> list[str]:
    """Choose account ids that Kafka's default partitioner spreads evenly."""
    homes: dict[int, list[str]] = {each: [] for each in range(PARTITIONS)}
    for number in range(10 * ACCOUNTS):
        account = f"account-{number}"
        home = homes[(murmur2(event_key(account)) & 0x7FFFFFFF) % PARTITIONS]
        if len(home) < ACCOUNTS // PARTITIONS:
            home.append(account)
    return [account for row in zip(*homes.values(), strict=True) for account in row]


def make_records(events: int, rows: int) -> list[tuple[bytes, bytes]]:
    """Make events of accounts that query images around ten class means."""
    rng = np.random.default_rng(0)
    means = rng.uniform(0, 1, (CLASSES, VALUES)).astype(np.float32)
    accounts = even_accounts()
    records = []
    for number in range(events):
        labels = rng.integers(0, CLASSES, rows)
        noise = rng.normal(0, 0.2, (rows, VALUES)).astype(np.float32)
        account = accounts[number % ACCOUNTS]
        event = QueryEvent(
            id=str(number),
            account=account,
            model="digits",
            time=number,
            inputs=Tensor.from_array(means[labels] + noise),
            labels=labels.tolist(),
        )
        records.append((event_key(account), encode_event(event)))
    return records


def percentile(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """Interpolate a percentile of what was observed between two readings of a histogram."""
    counts = {edge: after[edge] - before.get(edge, 0.0) for edge in sorted(after)}
    target = share * max(counts.values())
    low, below = 0.0, 0.0
    for edge, count in counts.items():
        if count >= target:
            return low + (edge - low) * (target - below) / max(count - below, 1.0)
        low, below = edge, count
    return low


def measure(address: str, events: int, rows: int, seconds: float) -> None:
    """Print one size of events: both rates, their ratio, and the latency at half the load."""
    bench = Bench(address)
    records = make_records(events, rows)
    bench.fill(records)
    before = bench.noop(events)
    with bench.worker():
        speed = bench.speed(events)
        after = bench.noop(events)
        noop = Speed((before.rate + after.rate) / 2, (before.busy + after.busy) / 2)
        print(
            f"{rows:>3} rows per event: no-op agent {noop.rate:,.0f} events/s (before "
            f"{before.rate:,.0f}, after {after.rate:,.0f}), worker {speed.rate:,.0f} events/s "
            f"({speed.rate / noop.rate:.0%}), {speed.rate * rows:,.0f} queries/s; CPU per event "
            f"{noop.busy * 1e6:.0f} and {speed.busy * 1e6:.0f} us ({noop.busy / speed.busy:.0%})",
            flush=True,
        )
        load = speed.rate / 2
        some = records[: int(load * seconds)]
        bench.fill(some[: len(some) // 10], load)  # lets the worker come to rest
        bench.wait(events + len(some) // 10)
        start = bench.buckets()
        bench.fill(some, load)
        bench.wait(events + len(some) // 10 + len(some))
        end = bench.buckets()
    p50, p99 = (percentile(start, end, share) * 1000 for share in (0.5, 0.99))
    print(f"    at {load:,.0f} events/s: latency p50 {p50:.0f} ms, p99 {p99:.0f} ms", flush=True)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", default="kafka", choices=["kafka", "embedded", "given"])
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=15.0)
    asked = parser.parse_args()
    with brokers.make_broker(asked.broker) as running:
        for rows in asked.rows:
            measure(running.address, max(asked.events // rows, 2_000), rows, asked.seconds)


if __name__ == "__main__":
    main()
