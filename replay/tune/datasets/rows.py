"""Rows for a data set, gathered from many files: of one shape, distinct, and at most so many."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.schemas.errors import TraceError

_DIGEST = 16  # bytes: two different rows of a trillion share one with probability 1e-15


class Part(NamedTuple):
    """Some rows of one source: `where` (a file, for messages), inputs, labels, groups.

    `inputs` is `(n, *shape)`; `labels` are `(n,)` whole numbers, or names; `groups` names for
    each row what must not be torn apart by a split (an account, a track), or is None.
    """

    where: str
    inputs: NDArray[Any]
    labels: NDArray[np.int64] | list[str]
    groups: list[str] | None = None


class Row(NamedTuple):
    """One row that is kept: its bytes, its label and its group."""

    data: bytes
    label: int | str
    group: str | None


class Rows:
    """Distinct rows: the first of equal ones, and of more than `limit` an even random share.

    A row's rank is a keyed hash of its bytes, so which ones are kept depends on the seed but
    neither on the order nor on the number of the files; memory holds twice `limit` rows at most.
    """

    def __init__(self, limit: int | None, seed: int) -> None:
        self.repeated = 0
        self.shape: tuple[int, ...] = ()
        self.dtype = np.dtype(np.uint8)
        self._limit = limit
        self._key = str(seed).encode()[: hashlib.blake2b.MAX_KEY_SIZE]
        self._first = ""
        self._rows: dict[bytes, Row] = {}
        self._bar: bytes | None = None

    def add(self, part: Part) -> None:
        """Take rows; `TraceError` names the file whose shape, dtype or values do not fit."""
        self._check(part)
        groups: Sequence[str | None] = part.groups or [None] * len(part.inputs)
        labels = part.labels if isinstance(part.labels, list) else part.labels.tolist()
        for values, label, group in zip(part.inputs, labels, groups, strict=True):
            data = values.tobytes()
            rank = hashlib.blake2b(data, digest_size=_DIGEST, key=self._key).digest()
            if rank in self._rows:
                self.repeated += 1
            elif self._bar is None or rank < self._bar:
                self._rows[rank] = Row(data, label, group)
        if self._limit is not None and len(self._rows) > 2 * self._limit:
            self._cut(self._limit)

    def sorted(self) -> list[Row]:
        """Give the rows in the order of their ranks: a random one, the same every time."""
        if self._limit is not None and len(self._rows) > self._limit:
            self._cut(self._limit)
        return [self._rows[rank] for rank in sorted(self._rows)]

    def _cut(self, limit: int) -> None:
        ranks = sorted(self._rows)
        self._bar = ranks[limit]
        self._rows = {rank: self._rows[rank] for rank in ranks[:limit]}

    def _check(self, part: Part) -> None:
        shape, dtype = part.inputs.shape[1:], part.inputs.dtype
        if not self._first:
            self._first, self.shape, self.dtype = part.where, shape, dtype
        if (shape, dtype) != (self.shape, self.dtype):
            raise TraceError(
                f"{part.where}: rows are {_kind(shape, dtype)}, those of {self._first} are "
                f"{_kind(self.shape, self.dtype)}; train on rows of one shape and dtype"
            )
        if dtype.kind == "f" and not np.isfinite(part.inputs).all():
            raise TraceError(f"{part.where}: holds NaN or infinity; leave such rows out")


def _kind(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{'x'.join(map(str, shape)) or 'single numbers'} of {dtype.name}"
