"""Small traces for tests: events, files and topics, made the obvious way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gamekeeper.detectors.engine import Arrival, Source
from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.tables import QUERIES, many_query_rows, write_parquet
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Verdict, encode_verdict
from gamekeeper.stream.kafka import Settings, producer

START = 1_700_000_000_000_000


def events(accounts: int = 3, each: int = 40, gap: int = 1000) -> list[QueryEvent]:
    """Make events of 1 to 3 rows, `gap` microseconds apart, accounts by turns."""
    random = np.random.default_rng(0)
    made = []
    for number in range(each):
        for account in range(accounts):
            rows = 1 + (number + account) % 3
            inputs = random.normal(size=(rows, 2, 3)).astype(np.float32)
            made.append(
                QueryEvent(
                    id=f"{account}-{number}",
                    account=f"account {account}",
                    model="digits",
                    time=START + gap * len(made),
                    inputs=Tensor.from_array(inputs),
                    labels=random.integers(0, 10, rows).tolist(),
                    probabilities=Tensor.from_array(np.full((rows, 2), 0.5, np.float32)),
                )
            )
    return made


def arrival(account: str, inputs: NDArray[Any]) -> Arrival:
    """Make an account's one event, of rows `(n, ...)`."""
    event = QueryEvent(
        id=account,
        account=account,
        model="m",
        time=START,
        inputs=Tensor.from_array(inputs),
        labels=[0] * len(inputs),
    )
    return Arrival(event, Source("queries", 0, 0))


def write_trace(path: Path, made: list[QueryEvent], trace: str | None = None) -> Path:
    """Write events as a trace file, in their order."""
    counts: dict[str, int] = {}
    batches = []
    for event in made:
        first = counts.get(event.account, 0)
        batches.append(
            many_query_rows([event], [first], trace=trace, kind="benign" if trace else None)
        )
        counts[event.account] = first + len(event)
    write_parquet(pa.Table.from_batches(batches, schema=QUERIES), path)
    return path


def sorted_rows(path: Path) -> pa.Table:
    """Read a trace's rows by account and query."""
    return pq.read_table(path).sort_by([("account", "ascending"), ("query", "ascending")])


def send(settings: Settings, topic: str, *values: QueryEvent | Verdict | bytes | None) -> None:
    """Put events, verdicts or bytes that are neither on a topic, each by its account."""
    with producer(settings) as client:
        for value in values:
            key, payload = _record(value)
            client.send(topic, key=key, value=payload)
        client.flush(timeout=180)


def _record(value: QueryEvent | Verdict | bytes | None) -> tuple[bytes, bytes | None]:
    if isinstance(value, QueryEvent):
        return event_key(value.account), encode_event(value)
    if isinstance(value, Verdict):
        return event_key(value.account), encode_verdict(value)
    return b"nobody", value
