"""Traffic for the sink: records of all kinds, and which rows must come of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gamekeeper.schemas.event import QueryEvent, encode_event
from gamekeeper.schemas.tables import QUERIES, SCORES, VERDICTS
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Verdict, encode_verdict
from gamekeeper.stream.kafka import Settings, producer
from support.verdict_tables import make_verdict

DAY = 86_400_000_000
NOON = 1_700_049_600_000_000  # 2023-11-15, 12:00 UTC
SCHEMAS = {"verdicts": VERDICTS, "queries": QUERIES, "scores": SCORES}
ORDER = {
    "verdicts": ("_topic", "_partition", "_offset"),
    "queries": ("account", "model", "query"),
    "scores": ("account", "model", "query", "detector"),
}


class Sent(NamedTuple):
    """A record to be sent, keyed by its account."""

    topic: str
    account: str
    value: bytes | None


def verdict(number: int, account: str, day: int = 0) -> Verdict:
    """Make a verdict that is told from others by its number."""
    times = {"first_time": NOON, "last_time": NOON + day * DAY + number}
    return make_verdict(account, number, "create", **times)


def query(number: int, account: str, rows: int, day: int = 0) -> QueryEvent:
    """Make an event of a few queries."""
    return QueryEvent(
        id=f"event-{number}",
        account=account,
        model="digits",
        time=NOON + day * DAY + number,
        inputs=Tensor.from_array(np.full((rows, 2), number, np.float32)),
        labels=[number % 10] * rows,
    )


def scores(number: int, account: str) -> bytes:
    """Make a scores record of two queries and two detectors, one of which is not yet ready."""
    body = {
        "schema": 1,
        "account": account,
        "model": "digits",
        "event": f"event-{number}",
        "query": 2 * number,
        "time": NOON + number,
        "statistics": {"prada": [0.25, number], "prada-v1": [None, None]},
    }
    return json.dumps(body).encode()


def traffic(settings: Settings, count: int) -> list[Sent]:
    """Make records of all three kinds, with doubles, tombstones, orders and broken ones."""
    topics = settings.topics
    sent = []
    for number in range(count):
        account = f"account-{number % 7}"
        body = encode_verdict(verdict(number, account, day=number % 3))
        event = query(number, account, rows=1 + number % 3, day=number // (count // 2))
        sent += [
            Sent(topics.verdicts, account, body),
            Sent(topics.queries, account, encode_event(event)),
            Sent(topics.scores, account, scores(number, account)),
        ]
        if number % 5 == 0:
            sent.append(Sent(topics.verdicts, account, body))
            sent.append(Sent(topics.scores, account, scores(number, account)))
        if number % 11 == 0:
            sent.append(Sent(topics.verdicts, account, b"{"))
            sent.append(Sent(topics.queries, "somebody else", encode_event(event)))
            sent.append(Sent(topics.scores, account, b"[]"))
        if number % 13 == 0:
            sent.append(Sent(topics.verdicts, account, None))
            sent.append(Sent(topics.queries, account, b"{}"))  # an order, not an event
    return sent


def send(settings: Settings, records: list[Sent], pause: float = 0.0) -> None:
    """Send records in order, waiting between them."""
    with producer(settings, linger_ms=0) as client:
        for record in records:
            client.send(record.topic, record.value, key=record.account.encode())
            if pause:
                time.sleep(pause)
        client.flush(timeout=180)


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the folder's tables, each in an order that does not depend on how files were cut."""
    found = {}
    for name, schema in SCHEMAS.items():
        files = sorted((folder / name).glob("date=*/*.parquet"))
        parts = [pq.read_table(path, partitioning=None) for path in files]
        assert all(part.schema.equals(schema) for part in parts)
        rows = pa.concat_tables(parts).to_pylist() if parts else []
        found[name] = sorted(rows, key=lambda row: [row[column] for column in ORDER[name]])
    return found


def rejected(folder: Path) -> list[dict[str, Any]]:
    """Read the records that could not be read, by place."""
    lines = [
        json.loads(line)
        for path in (folder / "rejected").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    return sorted(lines, key=lambda line: (line["topic"], line["partition"], line["offset"]))


def expected(records: list[Sent], settings: Settings) -> dict[str, set[tuple[Any, ...]]]:
    """Say, the obvious way, which rows must be there."""
    counts: dict[str, int] = {}
    rows: dict[str, set[tuple[Any, ...]]] = {name: set() for name in SCHEMAS}
    for record in records:
        if record.value in (None, b"{", b"[]", b"{}") or record.account == "somebody else":
            continue
        if record.topic == settings.topics.verdicts:
            rows["verdicts"].add((record.account, json.loads(record.value)["id"]))
        elif record.topic == settings.topics.scores:
            body = json.loads(record.value)
            for detector, values in body["statistics"].items():
                for index, value in enumerate(values):
                    rows["scores"].add((record.account, body["query"] + index, detector, value))
        else:
            number = int(record.value.partition(b"event-")[2].split(b"\xa7")[0])
            for row in range(1 + number % 3):
                first = counts.get(record.account, 0)
                counts[record.account] = first + 1
                rows["queries"].add((record.account, first, f"event-{number}", row))
    return rows


def keys(found: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Cut rows down to what `expected` speaks of."""
    columns = {
        "verdicts": ("account", "id"),
        "queries": ("account", "query", "event", "row"),
        "scores": ("account", "query", "detector", "statistic"),
    }
    return {name: [tuple(row[c] for c in columns[name]) for row in found[name]] for name in SCHEMAS}


def complete(folder: Path, records: list[Sent], settings: Settings) -> Callable[[], bool]:
    """Say whether the folder has as many rows as it must have."""
    wanted = {name: len(rows) for name, rows in expected(records, settings).items()}

    def check() -> bool:
        try:
            return {name: len(rows) for name, rows in tables(folder).items()} == wanted
        except FileNotFoundError:  # removed between listing and reading
            return False

    return check
