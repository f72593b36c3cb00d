"""How an account keeps to the habit that is declared for it, query by query.

While it does, findings that the habit explains are held at low severity; theft never is. It does
so until the declaration ends (by each query's own event time), and while it is not broken: by more
queries on one day than its budget, or, of a probe, by more different inputs than are its own. What
is broken stays so until people declare anew. That it was broken is a finding of its own: whoever
takes over an account of which much is thought harmless does something else with it.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.engine.habits import EPOCH, EXPLAINS, DeclaredHabit
from gamekeeper.detectors.engine.policy import MICROSECONDS, Change, otherwise
from gamekeeper.detectors.engine.repeats import digests
from gamekeeper.schemas.verdict import Kind

NAME: Final = "declared"
"""What stands for a detector where a declaration is broken."""
DAY: Final = 24 * 3600 * MICROSECONDS
DAYS: Final = 8
"""Days whose queries are counted: what comes a week late counts on its own day."""

BEFORE: Final = -1
"""Stands for a row before those that are looked at."""

Bools = NDArray[np.bool_]
Broken = Literal["", "budget", "inputs"]


class Declared(msgspec.Struct, array_like=True):
    """What is kept of an account with a declared habit, in its header.

    `terms` identify the declaration; `days` counts queries by day of event time (UTC, since 1970);
    `inputs` are digests of a probe's different ones; `broken` says by what it is.
    """

    terms: str
    days: dict[int, int] = {}
    inputs: list[bytes] = []
    broken: Broken = ""

    def follow(self, habit: DeclaredHabit, batch: Batch) -> Course:
        """Take the next queries; say where the declaration held."""
        counts = np.array([self._count(day) for day in (batch.times // DAY).tolist()], np.int64)
        holds = batch.times < habit.ends
        broke = BEFORE if self.broken else self._break(habit, batch, holds, counts)
        holds[max(0, broke) :] = False
        return Course(habit, batch.times, holds, counts, self.broken, broke)

    def _count(self, day: int) -> int:
        """Count a query; where so many days are known, one of an older day is the oldest's."""
        if day not in self.days and len(self.days) == DAYS:
            oldest = min(self.days)
            if day < oldest:
                day = oldest
            else:
                del self.days[oldest]
        self.days[day] = self.days.get(day, 0) + 1
        return self.days[day]

    def _break(
        self, habit: DeclaredHabit, batch: Batch, within: Bools, counts: NDArray[np.int64]
    ) -> int:
        """Find the first query that breaks the declaration: its row, or the number of rows."""
        over = np.flatnonzero(within & (counts > habit.budget))
        end = int(over[0]) if len(over) else len(batch)
        varied = self._vary(habit, batch[:end], within)
        if varied < end:
            self.broken = "inputs"
        elif len(over):
            self.broken = "budget"
        return varied

    def _vary(self, habit: DeclaredHabit, batch: Batch, within: Bools) -> int:
        """Note a probe's inputs; find the row of the first that is one too many, or the end."""
        if habit.inputs is not None:
            for row, digest in enumerate(digests(batch.inputs)):
                if within[row] and digest not in self.inputs:
                    if len(self.inputs) == habit.inputs:
                        return row
                    self.inputs.append(digest)
        return len(batch)


class Span(NamedTuple):
    """Rows from one to another, which is not among them; are findings held at low there?"""

    first: int
    end: int
    held: bool


class Course(NamedTuple):
    """How a declaration fared over `n` queries; without a `habit` there was none.

    `(n,)` `times` are the queries', `holds` says after which it held, `counts` how many queries
    the day of each has had; `broken` says by what it is, `broke` at which row: `BEFORE` these, or
    n where it is not.
    """

    habit: DeclaredHabit | None = None
    times: NDArray[np.int64] = np.empty(0, np.int64)
    holds: Bools = np.empty(0, np.bool_)
    counts: NDArray[np.int64] = np.empty(0, np.int64)
    broken: Broken = ""
    broke: int = BEFORE

    def spans(self, kind: Kind) -> list[Span]:
        """Cut the rows where findings of a kind begin or cease to be held at low."""
        if not self._explains(kind):
            return [Span(0, len(self.holds), held=False)]
        edges = [0, *(np.flatnonzero(np.diff(self.holds)) + 1).tolist(), len(self.holds)]
        return [Span(*rows, held=bool(self.holds[rows[0]])) for rows in pairwise(edges)]

    def _explains(self, kind: Kind) -> bool:
        return self.habit is not None and kind in EXPLAINS[self.habit.habit]

    def told(self, change: Change, kind: Kind, row: int) -> dict[str, Any]:
        """Say in a finding's evidence that it is held at low, or no longer is."""
        if change.released:
            return {NAME: {**self._terms(), "ended": self._ended(kind, row)}}
        if not change.standing.withheld or self.habit is None:
            return {}
        left = self.habit.budget - int(self.counts[row])
        return {NAME: self._terms() | {"left": left, "otherwise": otherwise(change.standing)}}

    def _terms(self) -> dict[str, Any]:
        """Give what is declared, but for the account, which the verdict names."""
        told: dict[str, Any] = msgspec.to_builtins(self.habit) or {}
        return {name: each for name, each in told.items() if name != "account" and each is not None}

    def _ended(self, kind: Kind, row: int) -> str:
        """Say why a finding of a kind is no longer held at low: `ENDED` has it in words."""
        if not self._explains(kind):
            return "undeclared"
        return self.broken if self.broken and row >= self.broke else "until"

    def breach(self) -> Floats:
        """Give `(n,)` statistics: where the declaration was broken, what was too many; else 0."""
        found = np.zeros(len(self.times))
        if self.broken and self.broke != BEFORE:
            found[self.broke] = self.counts[self.broke]
            if self.broken == "inputs":
                found[self.broke] = self.limit + 1
        return found

    @property
    def limit(self) -> int:
        """Give how many there may be of what is too many where it is broken."""
        assert self.habit is not None
        return (self.broken == "inputs" and self.habit.inputs) or self.habit.budget

    def evidence(self, row: int) -> dict[str, Any]:
        """Say what was declared, by what it is broken, and how much came on the day of a row."""
        day = (EPOCH + timedelta(microseconds=int(self.times[row]))).date().isoformat()
        return self._terms() | {
            "broken": self.broken,
            "day": day,
            "queries": int(self.counts[row]),
        }
