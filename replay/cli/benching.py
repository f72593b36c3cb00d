"""What `gamekeeper bench` does between preparation and report: attacks, or honest habits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from gamekeeper.replay.theft.bench.parts import Part
    from gamekeeper.replay.theft.bench.setting import Setting
    from gamekeeper.replay.tune.processes import Advance


class Work(Protocol):
    """The part of a bench that takes long, kept in its folder as it is done."""

    what: ClassVar[str]

    def there(self) -> Sequence[Any]:
        """Read what is done so far."""
        ...

    def do(self, setting: Setting, public: Part | None, jobs: int, say: Advance) -> None:
        """Do what is not done yet."""
        ...

    def report(self, setting: Setting) -> tuple[dict[str, Any], list[Path]]:
        """Write the report; give what is told as JSON, and the files, Markdown first."""
        ...


class Attacks:
    """Every attack under every evasion."""

    what: ClassVar[str] = "attacks"

    def __init__(
        self,
        out: Path,
        name: str,
        attacks: tuple[str, ...],
        evasions: tuple[str, ...],
        runs: int,
        budget: int,
    ) -> None:
        from gamekeeper.replay.theft.bench.benches import BENCHES

        self._out, self._name, self._budget = out, name, budget
        self._bench = BENCHES[name]
        self._keys = self._bench.keys(attacks, evasions, runs)

    def there(self) -> Sequence[Any]:
        """Read the cells that are done."""
        from gamekeeper.replay.theft.bench.run import there

        return there(self._out, self._keys, self._budget)

    def do(self, setting: Setting, public: Part | None, jobs: int, say: Advance) -> None:
        """Attack."""
        from gamekeeper.replay.theft.bench.run import cells, share

        share(self._out, setting, public)
        cells(self._out, self._keys, self._budget, jobs, say)

    def report(self, setting: Setting) -> tuple[dict[str, Any], list[Path]]:
        """Lay the cells out."""
        from gamekeeper.replay.theft.bench.report import write_report
        from gamekeeper.replay.theft.bench.tables import Found

        done, limits = self.there(), thresholds(setting)
        sizes = setting.sizes
        found = Found(done, limits, setting.maxima["test"], setting.likelihood(), sizes.life)
        heading = (
            f"{describe(setting)} false alarms on as many others; attacks of "
            f"{self._budget:,} images. Seed {sizes.seed}."
        )
        written = write_report(self._out, self._name, self._bench, found, heading)
        return {"cells": done, "limits": limits}, written


class Habits:
    """Accounts of every honest habit that images can have."""

    what: ClassVar[str] = "honest habits"

    def __init__(self, out: Path, habits: tuple[str, ...], accounts: int, queries: int) -> None:
        from gamekeeper.replay.honest.bench import keys_of

        self._out, self._queries = out, queries
        self._keys = keys_of(habits, accounts)

    def there(self) -> Sequence[Any]:
        """Read the accounts that are done."""
        from gamekeeper.replay.honest.bench import there

        return there(self._out, self._keys, self._queries)

    def do(self, setting: Setting, public: Part | None, jobs: int, say: Advance) -> None:
        """Let accounts have habits."""
        from gamekeeper.replay.honest.bench import measure
        from gamekeeper.replay.theft.bench.run import share

        share(self._out, setting, public)
        measure(self._out, self._keys, self._queries, jobs, say)

    def report(self, setting: Setting) -> tuple[dict[str, Any], list[Path]]:
        """Lay the accounts out."""
        from gamekeeper.replay.honest.bench import Found, write_report

        found = Found(self.there(), thresholds(setting))
        heading = (
            f"{describe(setting)} habits of accounts that draw from as many other images, "
            f"{self._queries:,} queries each. Seed {setting.sizes.seed}."
        )
        written = write_report(self._out, found, heading)
        return {"accounts": found.outcomes, "limits": found.limits}, written


def thresholds(setting: Setting) -> dict[str, dict[str, float]]:
    """Give the thresholds of each rule, by detector."""
    from gamekeeper.replay.theft.bench.rules import limits

    return {rule: limits(each) for rule, each in setting.watched.rules.items()}


def describe(setting: Setting) -> str:
    """Say what answers, and where thresholds are from."""
    sizes, parts, classes = setting.sizes, setting.parts, setting.victim.classes
    return (
        f"A victim of {classes} classes, {setting.accuracy():.1%} right on images it never "
        f"saw, trained on {len(parts.victim.images):,}. Thresholds from {sizes.accounts} accounts "
        f"of {sizes.life:,} queries,"
    )
