"""A burst of a hundred times what one worker can take: its memory, its health, and how it drains.

    KAFKA_HOME=... python tests/studies/burst.py [--factor 100] [--seconds 60] [--drain 7200]

One worker with the sample's profile (three detectors with networks) at GAMEKEEPER_HOT_BYTES of
256 MiB, and a sink that writes verdicts and queries. Events are 32 of the sample's images; an
account sends twelve of them, and then another one comes. First the worker takes a backlog, as fast
as it can: that is the sustainable rate. Then producers send so many times that rate for so many
seconds, or as fast as they get it out, and the backlog is let drain. All the time, twice a second,
the memory of both processes is read, and the worker is asked for `/livez`, `/readyz` and its
metrics. A factor of 100 for a minute is 100 minutes of work for this worker: after `--drain`
seconds it is told how far it has come, and how fast.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.replay.traces import SAMPLE, read_trace
from gamekeeper.replay.tune.calibration import SHIPPED
from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.kafka import Settings, producer
from support import brokers
from support.stage import MINUTES, Stage
from support.workers import Record, all_applied, send, wait_for

MIB = 2**20
HOT_BYTES = 256 * MIB
ROWS, EVENTS, ABREAST = 32, 12, 50
"""Images of an event, events of an account (a customer of the sample has 400 images), and accounts
at a time."""
PRODUCERS = 2
UNANSWERED = 4000
"""Events that a producer has under way at a time."""
IN_LOTS = {"linger_ms": 50, "batch_size": MIB}
"""How producers send: the client's own 16 KiB a request is two of these events."""
TRIAL = 600
"""Events of which the sustainable rate is measured; before these, a tenth of them."""
PAUSE = 0.5
REST, BURST, DRAIN, AFTER = "before", "burst", "draining", "after"
PARTS = ("worker", "sink")


class Sample(NamedTuple):
    """What was seen at one moment of a phase: seconds, bytes resident, events, and rows applied."""

    phase: str
    at: float
    worker: int
    sink: int
    livez: float
    ready: bool
    lag: float
    applied: float


class Watch:
    """Looks at a worker and a sink twice a second, in a thread, until the block ends."""

    def __init__(self, stage: Stage) -> None:
        """Say whom to look at; `phase` names what is going on."""
        self._worker = stage.workers[0]
        self._memory = [psutil.Process(each.pid).memory_info for each in stage.services]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.phase = REST
        self.samples: list[Sample] = []

    def __enter__(self) -> Watch:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(PAUSE):
            phase, asked = self.phase, time.monotonic()
            alive = self._worker.get("/livez")[0] == 200
            answered = time.monotonic() - asked if alive else float("inf")
            worker, sink = (read().rss for read in self._memory)
            ready = self._worker.get("/readyz")[0] == 200
            lag = self._worker.metric("gamekeeper_consumer_lag")
            applied = self._worker.metric("gamekeeper_queries_total")
            self.samples.append(Sample(phase, asked, worker, sink, answered, ready, lag, applied))

    def rows(self) -> Iterator[str]:
        """Lay out what was seen, a line for each phase."""
        yield "| | seconds | worker, MiB | sink, MiB | `/livez` within | ready | lag | rows/s |"
        yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
        for phase in dict.fromkeys(each.phase for each in self.samples):
            seen = [each for each in self.samples if each.phase == phase]
            took = seen[-1].at - seen[0].at
            worker, sink = (max(getattr(each, name) for each in seen) / MIB for name in PARTS)
            ready = sum(each.ready for each in seen) / len(seen)
            rate = (seen[-1].applied - seen[0].applied) / max(took, PAUSE)
            yield (
                f"| {phase} | {took:.0f} | {worker:.0f} | {sink:.0f} "
                f"| {max(each.livez for each in seen):.2f} s | {ready:.0%} "
                f"| {max(each.lag for each in seen):,.0f} | {rate:,.0f} |"
            )


def records(name: str) -> Iterator[Record]:
    """Make events without end, of the sample's images in an order of their own."""
    events = [each.event for each in read_trace([SAMPLE])]
    images = np.concatenate([event.inputs.array() for event in events])
    labels = np.concatenate([event.labels for event in events])
    rng, number = np.random.default_rng(len(name)), 0
    while True:
        chosen = rng.integers(len(images), size=ROWS)
        event = QueryEvent(
            id=f"{name}-{number}",
            account=f"{name}-{number // (EVENTS * ABREAST)}-{number % ABREAST}",
            model="digits",
            time=time.time_ns() // 1000,
            inputs=Tensor.from_array(images[chosen]),
            labels=labels[chosen].tolist(),
        )
        yield event_key(event.account), encode_event(event)
        number += 1


def produce(settings: Settings, name: str, rate: float, seconds: float) -> tuple[int, float]:
    """Send `rate` events a second, or as many as go out; give how many these were, and a second."""
    made, sent = records(name), 0
    waiting: deque[Any] = deque()
    with producer(settings, **IN_LOTS) as client:
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            if sent >= rate * passed:
                time.sleep(0.001)
                continue
            if len(waiting) == UNANSWERED:  # kafka-python itself would take any number
                waiting.popleft().get(timeout=seconds)
            key, value = next(made)
            waiting.append(client.send(settings.topics.queries, key=key, value=value))
            sent += 1
        client.flush()
        return sent, sent / (time.monotonic() - start)


def sustainable(stage: Stage) -> float:
    """Say how many events a second the worker takes of a backlog, when it is warm."""
    made, worker, count = records("trial"), stage.workers[0], 0
    for events in (TRIAL // 10, TRIAL):
        count += events * ROWS
        send(stage.settings, [next(made) for _ in range(events)])
        begun = time.monotonic()
        wait_for(lambda count=count: worker.metric("gamekeeper_queries_total") >= count, MINUTES)
    return TRIAL / (time.monotonic() - begun)


def burst(settings: Settings, rate: float, seconds: float) -> tuple[int, float]:
    """Let the producers send, each its share; give how many events these were, and a second."""
    start = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PRODUCERS, start) as pool:
        sent = [
            pool.submit(produce, settings, f"burst-{each}", rate / PRODUCERS, seconds)
            for each in range(PRODUCERS)
        ]
        counts, rates = zip(*(each.result() for each in sent), strict=True)
        return sum(counts), sum(rates)


def measure(stage: Stage, factor: float, seconds: float, patience: float) -> None:
    """Go through the phases; print what was seen in each."""
    wait_for(stage.workers[0].ready)
    with Watch(stage) as watch:
        rate = sustainable(stage)
        print(f"sustainable: {rate:,.1f} events/s, {rate * ROWS:,.0f} rows/s", flush=True)
        watch.phase = BURST
        sent, reached = burst(stage.settings, factor * rate, seconds)
        print(f"sent {sent:,} events, {reached / rate:.0f} times as many a second", flush=True)
        watch.phase, end = DRAIN, time.monotonic() + patience
        while time.monotonic() < end and not all_applied(stage.settings):
            time.sleep(1.0)
        left = watch.samples[-1].lag
        print(f"{left:,.0f} events left after {patience - end + time.monotonic():.0f} s")
        watch.phase = AFTER
        time.sleep(10 * PAUSE)
    print("\n".join(watch.rows()))


def main() -> None:
    """Run it once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--factor", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--drain", type=float, default=7200.0)
    asked = parser.parse_args()
    kind = brokers.local_kinds()[-1]  # Apache Kafka, where it is there
    with (
        tempfile.TemporaryDirectory(prefix="gamekeeper-burst-") as folder,
        brokers.make_broker(kind) as broker,
        Stage(
            broker.address,
            Path(folder),
            SHIPPED,
            sink_options=("--queries",),
            GAMEKEEPER_HOT_BYTES=str(HOT_BYTES),
            GAMEKEEPER_LOG_LEVEL="WARNING",
        ) as stage,
    ):
        measure(stage, asked.factor, asked.seconds, asked.drain)


if __name__ == "__main__":
    main()
