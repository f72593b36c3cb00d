"""A bench's cells as Markdown tables: what is caught, and the parts that all tables have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Floats
from gamekeeper.replay.theft.bench.cell import PLAIN, Cell
from gamekeeper.replay.tune.evaluation import clopper_pearson, typical
from gamekeeper.replay.tune.evaluation import worst as slowest

WORST = 20
"""Cells that are named first."""
INTERVAL = (
    "The interval is for other accounts that draw from the same images; other images differ more."
)
CAUGHT = "Cells give runs caught, median and worst queries to detection."


class Found(NamedTuple):
    """What a bench found: cells, thresholds by rule, and two things of the test accounts.

    `test` are their largest statistics by chunk, `likelihood` `(accounts, points)` the running
    means of their queries' log-likelihood at `cell.points(life)`.
    """

    cells: Sequence[Cell]
    limits: Mapping[str, Mapping[str, float]]
    test: Mapping[str, Floats]
    likelihood: Floats
    life: int

    def of(self, attack: str, evasion: str = PLAIN) -> list[Cell]:
        """Give the runs of one attack under one evasion."""
        return [each for each in self.cells if (each.attack, each.evasion) == (attack, evasion)]

    def attacks(self) -> list[str]:
        """Name the attacks, in the order of the runs."""
        return list(dict.fromkeys(each.attack for each in self.cells))

    def evasions(self) -> list[str]:
        """Name the evasions, in the order of the runs."""
        return list(dict.fromkeys(each.evasion for each in self.cells))

    def flagged(self, rule: str) -> str:
        """Say which share of the test accounts ever alarms, with its interval."""
        flags = np.any(list(self._alarmed(rule).values()), axis=0)
        low, high = clopper_pearson(int(flags.sum()), len(flags))
        return f"{100 * flags.mean():.1f} % ({100 * low:.1f}-{100 * high:.1f})"

    def flagged_by(self, rule: str) -> str:
        """Say which share each detector of a rule alarms on."""
        alarmed = self._alarmed(rule)
        return ", ".join(f"{name} {100 * flags.mean():.1f} %" for name, flags in alarmed.items())

    def _alarmed(self, rule: str) -> dict[str, NDArray[np.bool_]]:
        return {
            name: self.test[name].max(axis=1) > limit for name, limit in self.limits[rule].items()
        }

    def chunk_fpr(self, rule: str) -> str:
        """Say which share of the test accounts' 50-query chunks has an alarm."""
        above = [self.test[name] > limit for name, limit in self.limits[rule].items()]
        return f"{100 * np.any(above, axis=0).mean():.2f} %"


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Lay out a table.

    >>> markdown(("attack", "caught"), [("papernot", 3)])
    ['| attack | caught |', '| --- | --- |', '| papernot | 3 |']
    """
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def detected(cells: Sequence[Cell], rule: str) -> str:
    """Say how many runs were caught, and the median and worst queries to that."""
    found = [each.caught[rule] for each in cells]
    hits = sum(each is not None for each in found)
    return f"{hits}/{len(found)}, {number(typical(found))}, {number(slowest(found))}"


def number(value: float | None) -> str:
    """Write queries to detection; `missed` where there was none."""
    return "missed" if value is None else f"{value:,.0f}"


def middle(values: Iterable[float | None], form: str = "{:.2f}") -> str:
    """Write the median of the values there are."""
    there = [each for each in values if each is not None]
    return form.format(median(there)) if there else ""


def used(cells: Sequence[Cell], rule: str) -> str:
    """Write the median of accounts used per 10,000 queries sent."""
    return middle((each.used[rule] / each.sent * 10_000 for each in cells), "{:.0f}")


def agreement(cells: Sequence[Cell], when: str) -> str:
    """Write the median of what thieves have, at the end (`stolen`) or when caught (`leaked`)."""
    figures = [getattr(each, when) for each in cells]
    return middle(each.agreement.macro_f if each else None for each in figures)


def worst(found: Found) -> list[str]:
    """Name the cells that thieves would choose: least caught, then most leaked."""
    ranked = sorted(_groups(found), key=lambda group: (_share(group[2]), -_leak(group[2])))
    lines = [
        f"* {attack}, {evasion}: {detected(cells, 'combined')}; agreement {_leak(cells):.2f}"
        for attack, evasion, cells in ranked[:WORST]
    ]
    head = f"The {len(lines)} worst of {len(ranked)} cells: least caught, then most leaked."
    return ["## What is caught least", "", head, "", *lines, ""]


def matrix(found: Found) -> list[str]:
    """Lay out evasions over attacks: median queries to detection, and what had leaked by then."""
    attacks = found.attacks()
    rows = [
        (evasion, *(_brief(found.of(attack, evasion)) for attack in attacks))
        for evasion in found.evasions()
    ]
    return [
        "## Every attack under every evasion, in brief",
        "",
        "Median queries to detection, those of missed runs beyond all others, and, in brackets, "
        "the median of what had leaked by then, of missed runs all they got; runs caught where not "
        "all were. What was not run is empty.",
        "",
        *markdown(("evasion", *attacks), rows),
        "",
    ]


def _brief(cells: Sequence[Cell]) -> str:
    if not cells:
        return ""
    hits = [each.caught["combined"] for each in cells]
    caught = sum(each is not None for each in hits)
    share = "" if caught == len(cells) else f"{caught}/{len(cells)}: "
    return f"{share}{number(typical(hits))} ({_leak(cells):.2f})"


def combined(found: Found) -> list[str]:
    """Lay out every attack under every evasion at one promise."""
    rows = [
        (
            attack,
            evasion,
            detected(cells, "combined"),
            agreement(cells, "leaked"),
            agreement(cells, "stolen"),
            used(cells, "combined"),
            middle((each.sent / each.asked for each in cells), "{:.1f}"),
        )
        for attack, evasion, cells in _groups(found)
    ]
    head = (
        "attack",
        "evasion",
        "caught, median, worst",
        "leak at detection",
        "at the end",
        "accounts per 10,000",
        "sent / asked",
    )
    return [
        "## Every attack under every evasion",
        "",
        f"Honest accounts flagged: {found.flagged('combined')}; {found.flagged_by('combined')}, "
        f"of which each promises its share. {INTERVAL} {CAUGHT}",
        "",
        *markdown(head, rows),
        "",
    ]


def _groups(found: Found) -> list[tuple[str, str, list[Cell]]]:
    return [
        (attack, evasion, cells)
        for attack in found.attacks()
        for evasion in found.evasions()
        if (cells := found.of(attack, evasion))
    ]


def _share(cells: Sequence[Cell]) -> float:
    return sum(each.caught["combined"] is not None for each in cells) / len(cells)


def _leak(cells: Sequence[Cell]) -> float:
    return median((each.leaked or each.stolen).agreement.macro_f for each in cells)
