"""One account's feature vectors: the recent ones all, older ones ever thinner, bounded.

**What is forgotten.** The last `history` vectors are kept. What leaves them passes through `LEVELS`
reserves of `reserve` vectors each: of what leaves a memory, one in `keep` enters the next, and what
leaves the last reserve is gone. So reserve l holds one in `keep**l` of the vectors that are older
than all before it, and covers about `reserve * keep**l` of them: the span grows geometrically, the
state by `reserve` a level. Bytes are bounded in the same proportion: `megabytes` of recent vectors,
and as many per vector in the reserves; long vectors push out older ones sooner.

**Which one in `keep`** a keyed hash of its query index says: a pure function, so that neither
batches nor restores matter, which who reads the source cannot work out without the `secret`.

**What it takes.** Where vectors of bytes are kept as such (`narrow`), they take, and count as, a
quarter; all of one length are compared, whatever they are kept as.

A vector stays where it is in the flat index of its length while it passes from memory to memory: it
is older than all that it leaves behind. After a change of encoder, or between two that take turns,
only vectors of one length are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.vectors.index import FlatIndex, Ints, narrow
from gamekeeper.detectors.vectors.log import Form, Item, Position, VectorLog, size
from gamekeeper.schemas.errors import ProfileError

LEVELS: Final = 4


class Bounds(NamedTuple):
    """What is kept; see the module's text."""

    history: int
    megabytes: int
    reserve: int
    keep: int
    secret: int

    @property
    def key(self) -> bytes:
        """Stretch the secret to a key of the hash."""
        return _key(self.secret)

    @property
    def shown(self) -> list[int | str]:
        """List the bounds for state and messages, the secret by its fingerprint."""
        return [*self[:-1], fingerprint(self.secret)]

    def check(self) -> None:
        """Raise `ProfileError` where the bounds make no sense."""
        if self.history < 1 or self.megabytes < 1:
            raise ProfileError(
                f"history and megabytes are at least 1, not {self.history}, {self.megabytes}"
            )
        if self.reserve < 0 or self.keep < 1:
            raise ProfileError(
                "reserve is at least 0 (none) and keep at least 1 (all), "
                f"not {self.reserve}, {self.keep}"
            )
        if not 0 <= self.secret < 2**64:
            raise ProfileError("secret is a whole number from 0 to 2**64 - 1, best drawn at random")


def fingerprint(secret: int) -> str:
    """Name a secret without giving it away: 16 hex digits.

    >>> fingerprint(1) == fingerprint(1), fingerprint(1) == fingerprint(2)
    (True, False)
    """
    return blake2b(_key(secret), digest_size=8).hexdigest()


def _key(secret: int) -> bytes:
    return blake2b(str(secret).encode()).digest()


class Added(NamedTuple):
    """Vectors just added: the last rows of `among`, where each finds what it is compared with."""

    among: FlatIndex
    recent: list[int]
    """Vectors in the history after each."""
    older: list[int]
    """Vectors in the reserves after each."""


class VectorHistory:
    """The live vectors of an account whose query indices rise."""

    def __init__(self, bounds: Bounds, narrow: bool = False) -> None:
        """Start empty; raises `ProfileError`."""
        bounds.check()
        self._narrow = narrow
        budget = bounds.megabytes * 2**20
        self._recent = VectorLog("vectors", bounds.history, budget)
        budget = budget * bounds.reserve // bounds.history
        self._reserves = [
            (VectorLog(f"reserve-{level}", bounds.reserve, budget), bounds.keep**level)
            for level in range(1, LEVELS + 1)
            if bounds.reserve
        ]
        self._key = bounds.key
        self._widest = 0
        self.clear()

    @property
    def logs(self) -> list[VectorLog]:
        """The memories' logs, the recent one first."""
        return [self._recent, *(log for log, _ in self._reserves)]

    def clear(self) -> None:
        """Forget all vectors; log positions go on."""
        for log in self.logs:
            log.clear()
        self._older = 0
        self._indexes: dict[int, FlatIndex] = {}
        self._touched: set[int] = set()  # lengths of which some were forgotten

    @property
    def ever(self) -> int:
        """Count all vectors that were ever added."""
        return self._recent.position.end

    def sizes(self) -> tuple[int, int]:
        """Count the vectors of the history, and those of the reserves."""
        return len(self._recent), self._older

    def room(self, length: int) -> int:
        """Count the vectors that a new one of this length could be compared with."""
        return len(self._indexes[length]) if length in self._indexes else 0

    def add(self, queries: Ints, vectors: NDArray[np.float32]) -> Added:
        """Append `(k, d)` vectors of queries `(k,)`; what that forgets stays until `settle`."""
        length = vectors.shape[1]
        self._append(queries, vectors)
        recent, older = [], []
        gone: dict[int, list[tuple[int, int]]] = {}
        for item in zip(queries.tolist(), self._forms(vectors), strict=True):
            for lost, form in self._push(item):
                gone.setdefault(form.length, []).append((lost, item[0]))
            recent.append(len(self._recent))
            older.append(self._older)
        for its_length, items in gone.items():
            self._indexes[its_length].forget(np.array(items, np.int64))
        self._touched.update(gone)
        return Added(self._indexes[length], recent, older)

    def _forms(self, vectors: NDArray[np.float32]) -> list[Form]:
        wide, slim = Form(vectors.shape[1]), Form(vectors.shape[1], narrow=True)
        if not self._narrow:
            return [wide] * len(vectors)
        return [slim if each else wide for each in narrow(vectors).tolist()]

    def _append(self, queries: Ints, vectors: NDArray[np.float32]) -> None:
        length = vectors.shape[1]
        if length not in self._indexes:
            self._indexes[length] = FlatIndex(length, self._narrow)
        self._indexes[length].add(vectors, queries)
        self._widest = max(self._widest, size(Form(length)))

    def _push(self, item: Item) -> list[Item]:
        """Append a vector to the history; give those that no memory holds any longer."""
        moving, gone = self._recent.push(item), list[Item]()
        for log, share in self._reserves:
            if not moving:
                break
            leaving = []
            for each in moving:
                if self._rank(each[0]) % share:
                    gone.append(each)
                else:
                    left = log.push(each)
                    self._older += 1 - len(left)
                    leaving += left
            moving = leaving
        return gone + moving

    def _rank(self, query: int) -> int:
        """Hash a query's index to 64 bits; it enters reserve l where `keep**l` divides that."""
        data = blake2b(query.to_bytes(8, "little"), key=self._key, digest_size=8).digest()
        return int.from_bytes(data, "little")

    def settle(self) -> None:
        """Remove what is forgotten, where that is worth the while."""
        for length in self._touched:
            if not self._indexes[length].settle():
                del self._indexes[length]
        self._touched.clear()

    def drain(self) -> list[Segment]:
        """Hand out what was added to each memory since the last call and is still there."""
        return [segment for log in self.logs for segment in log.drain(self._indexes)]

    def positions(self) -> dict[str, Position]:
        """Give each log's position."""
        return {log.name: log.position for log in self.logs}

    def horizon(self) -> dict[str, int]:
        """Say up to which position each log's vectors are forgotten."""
        return {log.name: log.position.start for log in self.logs}

    def load(self, positions: Sequence[Position], segments: Sequence[Segment]) -> None:
        """Restore from the logs' positions and live segments; raises `StateError`."""
        self.clear()
        for log, position in reversed(list(zip(self.logs, positions, strict=True))):
            own = [segment for segment in segments if segment.log == log.name]
            for queries, vectors in log.load(position, own):  # the oldest first
                self._append(queries, vectors)
        self._older = sum(len(log) for log, _ in self._reserves)

    def limit(self) -> int:
        """State the most bytes that the logs' live segments take."""
        return sum(log.limit(self._widest) for log in self.logs)
