"""What is sent, and what must come of it: a detector in which nothing is forgotten unnoticed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gamekeeper.detectors import catalog
from gamekeeper.detectors.base import Batch, Detector, Floats, Segment
from gamekeeper.detectors.engine import (
    Arrival,
    DeclaredHabit,
    DetectorProfile,
    Engine,
    Key,
    Policy,
    Profile,
    Source,
    resolve,
)
from gamekeeper.detectors.header import Header
from gamekeeper.schemas.errors import StateError
from gamekeeper.schemas.event import QueryEvent, decode_event, encode_event
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Kind, encode_verdict
from support.simulation.broker import Log, Record

MODEL = "digits"
ACCOUNTS = ("account-0", "account-1", "account-4", "account-5")
"""Two on each partition."""
BROKEN = b"\x00"
DECLARED = {"owner": "Kim", "until": "2027-03-01"}


class Chain(Detector):
    """A toy that alarms at each third query, with a sum of all that it has ever seen as evidence.

    It keeps the latest values in a log, a row for each event, and a checksum of all in its header.
    """

    name: ClassVar[str] = "chain"
    kind: ClassVar[Kind] = "variants"
    threshold = 0.5
    _HEADER = Header("chain", 1, [])

    def __init__(self, *, keep: int = 4) -> None:
        """Keep so many values."""
        self._keep = keep
        self._total = self._sum = self._drained = 0
        self._values: list[float] = []
        self._evidence: list[dict[str, Any]] = []

    def update(self, batch: Batch) -> Floats:
        """Take queries; 1 at each third, else 0."""
        self._evidence = []
        statistics = []
        for value in batch.inputs[:, 0].tolist():
            self._total += 1
            self._sum = zlib.crc32(str(value).encode(), self._sum)
            self._values.append(value)
            kept = self._values[-self._keep :]
            self._evidence.append({"sum": self._sum, "kept": kept, "total": self._total})
            statistics.append(float(self._total % 3 == 0))
        return np.array(statistics, np.float64)

    def evidence(self, row: int) -> dict[str, Any]:
        """Say what was seen up to a row."""
        return self._evidence[row]

    def reset(self) -> None:
        """Forget nothing: the policy that it is used with never asks for it."""

    def drain(self) -> list[Segment]:
        """Hand out what is new in the log."""
        new = self._values[len(self._values) - (self._total - self._drained) :]
        self._drained = self._total
        self._values = self._values[-self._keep :]
        return [Segment("values", self._total, np.array(new).tobytes())] if new else []

    def header(self) -> bytes:
        """Encode counts and checksum."""
        return self._HEADER.pack(self._total, self._sum)

    def horizon(self) -> dict[str, int]:
        """Forget all but the latest values."""
        return {"values": max(0, self._total - self._keep)}

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore; `StateError` where values are missing."""
        with self._HEADER.fields(header) as (total, checksum):
            self._total, self._sum = total, checksum
        self._drained = self._total
        values = [value for each in segments for value in np.frombuffer(each.data).tolist()]
        self._values = values[-self._keep :]
        complete = not segments or segments[-1].end == self._total
        if not complete or len(self._values) < min(total, self._keep):
            raise StateError("values are missing")


@contextmanager
def toy() -> Iterator[None]:
    """Have that detector in the catalog within a block."""
    catalog.DETECTORS[Chain.name] = Chain
    try:
        yield
    finally:
        del catalog.DETECTORS[Chain.name]


with toy():
    PROFILE: Profile = resolve(
        Profile(
            name="simulated",
            detectors=(DetectorProfile(detector=Chain.name),),
            policy=Policy(close_after=0.0),
            habits=(
                DeclaredHabit(account=ACCOUNTS[0], habit="explainer", budget=9, **DECLARED),
                DeclaredHabit(account=ACCOUNTS[2], habit="probe", inputs=4, budget=99, **DECLARED),
            ),
        )
    )
    assert PROFILE.hash


class Truth(NamedTuple):
    """What must come of an account's events: its verdicts by id, and its state."""

    verdicts: dict[str, bytes]
    header: bytes | None


def event(number: int, account: str, rows: int) -> bytes:
    """Make the event of a number."""
    values = np.arange(rows, dtype=np.float32)[:, None] + np.float32(number)
    return encode_event(
        QueryEvent(
            id=str(number),
            account=account,
            model=MODEL,
            time=number * 1000,
            inputs=Tensor.from_array(values),
            labels=[0] * rows,
        )
    )


def truth(topic: str, partition: int, account: str, records: Iterable[Record]) -> Truth:
    """Apply an account's records, undisturbed."""
    key = (account, MODEL)
    engine = Engine(PROFILE)
    arrivals = [
        Arrival(decode_event(each.value or b""), Source(topic, partition, each.offset))
        for each in records
    ]
    told = {
        verdict.id: encode_verdict(verdict)
        for outcome in engine.process(arrivals)
        for verdict in outcome.verdicts
    }
    return Truth(told, state_of(engine, key))


def state_of(engine: Engine, key: Key) -> bytes | None:
    """Encode what an engine knows of an account."""
    account = engine.accounts.get(key)
    if account is None:
        return None
    account.drain()
    return account.header()


def valid(log: Log) -> dict[str, list[Record]]:
    """Give a log's events by account, as far as they count."""
    found: dict[str, list[Record]] = {}
    for each in log.history:
        if each.kind == "data" and each.value != BROKEN:
            found.setdefault((each.key or b"").decode(), []).append(each)
    return found
