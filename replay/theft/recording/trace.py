"""What the victim saw, as a trace: requests with their times, as rows of the `queries` table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Final, NamedTuple

import pyarrow as pa

from gamekeeper.replay.theft import Answers, Images
from gamekeeper.replay.theft.recording.recorder import Seen
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables import QUERIES, many_query_rows
from gamekeeper.schemas.tensor import Tensor

SECOND: Final = 1_000_000
OPENING: Final = 1_767_603_600 * SECOND
"""2026-01-05 09:00 UTC, in microseconds: traces do not depend on when they are made."""
GAP: Final = 0.1
"""Seconds between two queries of a thief who takes no pauses; no paper says."""
_EVENTS = 1024  # per batch: far below Arrow's 2 GiB of tensors even at the events' largest size


class Asked(NamedTuple):
    """Images that were sent in one event: when, by whom, what and with which answers."""

    time: int
    account: str
    trace: str
    kind: str
    images: Images
    answers: Answers
    synthetic: bool
    round: int


class Naming(NamedTuple):
    """How a trace calls what is in it: the thief's first account, itself, and the attack."""

    account: str
    trace: str
    kind: str

    def of(self, account: int) -> str:
        """Name one of the thief's accounts.

        >>> Naming("thief", "t", "tramer").of(0), Naming("thief", "t", "tramer").of(1)
        ('thief', 'thief-2')
        """
        return f"{self.account}-{account + 1}" if account else self.account


def asked(seen: Iterable[Seen], naming: Naming, rows: int) -> Iterator[Asked]:
    """Cut a thief's requests into events of at most `rows` rows, one query after the other.

    Before each query he waits `GAP` and his pause; an event's time is that of its last query.
    """
    clock = OPENING
    for request, answers in seen:
        wait = round((GAP + request.pause) * SECOND)
        account = naming.of(request.account)
        for images, part in cut(request.images, answers, rows):
            clock += wait * len(images)
            yield Asked(
                clock,
                account,
                naming.trace,
                naming.kind,
                images,
                part,
                request.synthetic,
                request.round,
            )


def cut(images: Images, answers: Answers, rows: int) -> Iterator[tuple[Images, Answers]]:
    """Cut images and their answers into parts of at most `rows`."""
    for start in range(0, len(images), rows):
        part = slice(start, start + rows)
        yield images[part], Answers(answers.labels[part], answers.probabilities[part])


def tabulate(events: Iterable[Asked], model: str) -> pa.Table:
    """Make a trace of events, oldest first; each account's queries are counted from 0."""
    ordered = sorted(events, key=lambda event: (event.time, event.account))
    placed = zip(ordered, _firsts(ordered), strict=True)
    batches = []
    for (trace, kind), group in groupby(placed, key=lambda each: (each[0].trace, each[0].kind)):
        while some := list(islice(group, _EVENTS)):
            batches.append(_rows(some, model, trace, kind))
    return pa.Table.from_batches(batches, schema=QUERIES)


def _firsts(events: Sequence[Asked]) -> Iterator[int]:
    """Say the index of each event's first query within its account."""
    queries: dict[str, int] = {}
    for event in events:
        first = queries.get(event.account, 0)
        yield first
        queries[event.account] = first + len(event.images)


def _rows(placed: Sequence[tuple[Asked, int]], model: str, trace: str, kind: str) -> pa.RecordBatch:
    counts = [(event, len(event.images)) for event, _ in placed]
    return many_query_rows(
        [_event(event, first, model) for event, first in placed],
        [first for _, first in placed],
        trace=trace,
        kind=kind,
        synthetic=[event.synthetic for event, count in counts for _ in range(count)],
        round=[event.round for event, count in counts for _ in range(count)],
    )


def _event(event: Asked, first: int, model: str) -> QueryEvent:
    return QueryEvent(
        id=f"{event.account}-{first:05d}",
        account=event.account,
        model=model,
        time=event.time,
        inputs=Tensor.from_array(event.images),
        labels=event.answers.labels.tolist(),
        probabilities=Tensor.from_array(event.answers.probabilities),
    )
