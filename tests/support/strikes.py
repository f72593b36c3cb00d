"""Faults that strike at random moments while a trace is played."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle

from gamekeeper.stream.kafka import producer
from support.kafka_nodes import KafkaCluster
from support.processes import Service
from support.stage import Stage
from support.workers import Record, wait_for

LATEST = 2.0
"""A strike comes at most so many seconds after its share of the trace has begun."""
OUTLIVED = 2.5
"""A suspended process is held for at most so many seconds longer than its session."""

Strike = Callable[[Stage, random.Random], AbstractContextManager[None]]
"""Takes something down; at the end of the block it is brought back."""


def play(
    stage: Stage,
    records: list[Record],
    strikes: Sequence[Strike],
    chance: random.Random,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Send the records; amid each share of them one strike comes. The last share is left alone.

    Before that, all have recovered from the strike before, or one worker has, or nothing is waited
    for.
    """
    conditions = {
        "all recovered": stage.calm,
        "some ready": stage.some_ready,
        "at once": lambda: True,
    }
    size = -(-len(records) // (len(strikes) + 1))
    with producer(stage.settings) as client, ThreadPoolExecutor(1) as pool:

        def send(share: list[Record], seconds: float) -> None:
            start = time.monotonic()
            for place, (key, value) in enumerate(share):
                client.send(stage.settings.topics.queries, key=key, value=value)
                time.sleep(max(0.0, start + seconds * place / size - time.monotonic()))

        for number, strike in enumerate(strikes):
            recovered = chance.choice(list(conditions))
            wait_for(conditions[recovered])
            moment = chance.uniform(0, LATEST)
            # Some of the share comes when what was struck is down.
            sending = pool.submit(send, records[number * size : (number + 1) * size], 1.2 * moment)
            time.sleep(moment)
            with strike(stage, chance):
                sending.result()
            say(f"strike {number + 1} of {len(strikes)}, {recovered}")
        send(records[len(strikes) * size :], 0.0)
        client.flush()


@contextmanager
def down(*victims: Service) -> Iterator[None]:
    """Kill processes, and start them again."""
    for victim in victims:
        victim.kill()
    yield
    for victim in victims:
        victim.start()


def workers_killed(stage: Stage, chance: random.Random) -> AbstractContextManager[None]:
    """Kill all workers but one; or the only one."""
    return down(*chance.sample(stage.workers, max(1, len(stage.workers) - 1)))


def sink_killed(stage: Stage, chance: random.Random) -> AbstractContextManager[None]:
    """Kill a sink."""
    return down(chance.choice(stage.sinks))


@contextmanager
def suspended(stage: Stage, chance: random.Random) -> Iterator[None]:
    """Suspend a worker or a sink until its session is over."""
    victim = chance.choice(stage.services)
    end = time.monotonic() + stage.settings.session_timeout + chance.uniform(0.5, OUTLIVED)
    victim.suspend()
    yield
    time.sleep(max(0.0, end - time.monotonic()))
    victim.wake()


def broker_strikes(cluster: KafkaCluster) -> tuple[Strike, Strike]:
    """Give two strikes on a cluster: its nodes in turn, one each time; and all at once."""
    turn = cycle(cluster.nodes)

    @contextmanager
    def one(stage: Stage, chance: random.Random) -> Iterator[None]:
        node = next(turn)
        node.kill()
        yield
        node.start()

    @contextmanager
    def every(stage: Stage, chance: random.Random) -> Iterator[None]:
        cluster.kill()
        yield
        cluster.start()

    return one, every
