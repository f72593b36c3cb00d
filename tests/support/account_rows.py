"""An account's rows, and a worker's tenure over them, without Kafka."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np

from gamekeeper.detectors.engine import (
    Arrival,
    DetectorProfile,
    Engine,
    Key,
    Profile,
    Source,
    resolve,
)
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.worker.changelog import Stored, Tenure
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.row_codec import Row
from gamekeeper.stream.worker.store import Store

KEY: Key = ("alice", "digits")
Rows = dict[bytes, Stored]
EPOCHS = itertools.count(1)


def profile(**options: object) -> Profile:
    """Make a profile whose detectors remember little."""
    detectors = (
        DetectorProfile(detector="prada", options={"window": 120, "growths": 16, **options}),
        DetectorProfile(detector="prada-v1", options={"growths": 16}),
        DetectorProfile(detector="steps", options={"window": 100, "history": 100}),
    )
    return resolve(Profile(name="test", detectors=detectors))


def arrivals(count: int, seed: int = 0) -> list[Arrival]:
    """Make one account's events of three rows, from offset 0; every fifth is sent again."""
    rng = np.random.default_rng(seed)
    sent = [rng.gamma(0.5, size=(3, 5)).astype(np.float32) for _ in range(count)]
    return [
        Arrival(
            QueryEvent(
                id=str(number),
                account=KEY[0],
                model=KEY[1],
                time=number,
                inputs=Tensor.from_array(sent[number - number % 5 // 4]),
                labels=rng.integers(0, 2, 3).tolist(),
            ),
            Source("queries", 0, number),
        )
        for number in range(count)
    ]


def of(arrival: Arrival, account: str) -> Arrival:
    """Make the arrival another account's."""
    return arrival._replace(event=msgspec.structs.replace(arrival.event, account=account))


def write(rows: Rows, written: list[Row]) -> None:
    """Do to the rows what a store does."""
    for row in written:
        if row.value is not None:
            rows[row.key] = Stored(row.epoch, row.value)
        elif row.key in rows and rows[row.key].epoch == row.epoch:
            del rows[row.key]


class Local:
    """Rows of partition 0 as the local store has them."""

    def __init__(self, rows: Rows) -> None:
        """Look at rows as they are."""
        self.rows = rows

    def read(self, partition: int, key: bytes) -> bytes | None:
        """Read a row."""
        row = self.rows.get(key) if partition == 0 else None
        return None if row is None else msgspec.msgpack.encode(tuple(row))

    def scan(self, partition: int, after: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """Read the next rows."""
        keys = sorted(key for key in self.rows if key > after)[:count]
        return [(key, self.read(partition, key) or b"") for key in keys]


class Run:
    """A worker's tenure: an engine and its hot accounts over rows that outlive it."""

    def __init__(
        self,
        rows: Rows,
        made_of: Profile | None = None,
        limit: int = 100,
        max_bytes: int = 2**30,
        life: int = 0,
        epoch: int | None = None,
    ) -> None:
        self.rows = rows
        self.key = KEY
        self.engine = Engine(made_of or profile())
        tenure = Tenure(next(EPOCHS) if epoch is None else epoch, life)
        tenures = dict.fromkeys((0, 1), tenure)
        self.store = Store(Engines(self.engine), limit, max_bytes, tenures)

    def take(self, batch: list[Arrival]) -> tuple[list[str], list[Row]]:
        """Apply what is new of a batch; return its statistics and the rows to be written."""
        entry = self.store.open(self.key, batch[0].source, self.rows.get)
        fresh = [each for each in batch if each.source.offset > entry.offset]
        told = [str(outcome.statistics) for outcome in self.engine.process(fresh)]
        if not fresh:
            return told, []
        entry.offset = fresh[-1].source.offset
        return told, list(entry.rows())

    def keep(self, written: list[Row]) -> None:
        """Bring the rows to what was written."""
        write(self.rows, written)
