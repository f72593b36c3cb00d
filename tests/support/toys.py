"""A detector whose statistics a test can choose, and traces that choose them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from gamekeeper.detectors.base import Batch, Detector, Floats, Segment
from gamekeeper.replay.traces import Life
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables import QUERIES, many_query_rows, write_parquet
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Kind
from support.traces import START


class Toy(Detector):
    """A detector that keeps no log, for tests that do not restore it."""

    kind: ClassVar[Kind] = "theft"

    def evidence(self, row: int) -> dict[str, Any]:
        """Say nothing."""
        return {"row": "any"}

    def drain(self) -> list[Segment]:
        """Keep no log."""
        return []

    def header(self) -> bytes:
        """Keep no state."""
        return b""

    def horizon(self) -> dict[str, int]:
        """Keep no log."""
        return {}

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore nothing."""

    def limit(self) -> int:
        """Need nothing."""
        return 0


class Echo(Toy):
    """A toy: the statistic of a query is its first input, NaN for the first `warm` queries."""

    name: ClassVar[str] = "echo"
    threshold = 0.5
    column: ClassVar[int] = 0

    def __init__(self, *, warm: int = 2) -> None:
        """Be ready after so many queries."""
        self.warm = warm
        self.reset()

    def update(self, batch: Batch) -> Floats:
        """Repeat what was sent."""
        places = self.seen + np.arange(len(batch))
        self.seen += len(batch)
        values = batch.inputs[:, self.column].astype(np.float64)
        return np.where(places >= self.warm, values, math.nan)

    def reset(self) -> None:
        """Begin anew."""
        self.seen = 0


class Echo2(Echo):
    """A second toy, which repeats the second input."""

    name: ClassVar[str] = "echo-2"
    column: ClassVar[int] = 1


Values = Mapping[tuple[str, str], Sequence[Sequence[float]]]
"""For each trace and account, the two inputs of each query."""


def write_values(
    path: Path, values: Values, kinds: Mapping[str, str] | None = None, model: str = "digits"
) -> Path:
    """Write a trace of given inputs, in events of 1 to 4 rows; `kinds` of accounts not benign."""
    batches = []
    for (trace, account), rows in values.items():
        first = 0
        while first < len(rows):
            part = np.array(rows[first : first + 1 + first % 4], np.float64)
            event = QueryEvent(
                id=f"{trace}-{account}-{first}",
                account=account,
                model=model,
                time=START + first * 1000,
                inputs=Tensor.from_array(part),
                labels=[0] * len(part),
            )
            kind = (kinds or {}).get(account, "benign")
            batches.append(many_query_rows([event], [first], trace=trace, kind=kind))
            first += len(part)
    write_parquet(pa.Table.from_batches(batches, schema=QUERIES), path)
    return path


def random_values(
    populations: Mapping[str, int], queries: int = 20, seed: int = 0
) -> dict[tuple[str, str], list[list[float]]]:
    """Draw so many accounts of each population, with inputs from 0 to 1."""
    random = np.random.default_rng(seed)
    return {
        (population, f"{population}-{number}"): random.random((queries, 2)).tolist()
        for population, accounts in populations.items()
        for number in range(accounts)
    }


def life(account: str, population: str = "t", queries: int = 20) -> Life:
    """Make a benign account."""
    return Life(population, account, "digits", "benign", 0, queries)
