"""What a bench of habits found, as Markdown: who is called a thief, by whom, and how soon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import severity
from gamekeeper.replay.honest.bench.measure import Outcome
from gamekeeper.replay.honest.catalog import FAMILIES, HABITS
from gamekeeper.replay.theft.bench.judge import first_above
from gamekeeper.replay.theft.bench.tables import markdown
from gamekeeper.replay.tune.evaluation import clopper_pearson

RULE: Final = "combined"
STEPS: Final = "steps"
"""The rule that says of an account that it makes queries from earlier ones."""
CRITICAL: Final = 3


class Found(NamedTuple):
    """What a bench found: accounts, and thresholds by rule."""

    outcomes: Sequence[Outcome]
    limits: Mapping[str, Mapping[str, float]]

    def of(self, *habits: str) -> list[Outcome]:
        """Give the accounts of some habits."""
        return [each for each in self.outcomes if each.habit in habits]

    def habits(self) -> list[str]:
        """Name the habits, in the catalog's order."""
        seen = {each.habit for each in self.outcomes}
        return [name for name in HABITS if name in seen]

    def alarms(self, outcome: Outcome, rule: str = RULE) -> dict[str, int]:
        """Say by detector after how many queries a rule alarms, where it does."""
        found = {
            name: first_above(outcome.records[name], limit)
            for name, limit in self.limits[rule].items()
        }
        return {name: at for name, at in found.items() if at is not None}

    def caught(self, outcome: Outcome, rule: str = RULE) -> int | None:
        """Say after how many queries a rule first alarms; None if never."""
        return min(self.alarms(outcome, rule).values(), default=None)

    def grade(self, outcome: Outcome) -> int:
        """Give the highest severity, 0 where there is no alarm."""
        limits = self.limits[RULE]
        return max(
            (
                severity(max(outcome.records[name][1]), limits[name], DETECTORS[name].kind)
                for name in self.alarms(outcome)
            ),
            default=0,
        )


def families(found: Found) -> list[str]:
    """Lay out how many accounts of each family are called thieves."""
    rows = []
    for family, what in FAMILIES.items():
        own = found.of(*(name for name, entry in HABITS.items() if entry.family == family))
        if own:
            shares = (_share(found, own, rule) for rule in (RULE, STEPS))
            rows.append((family, what, len(own), *shares))
    return [
        "## By family",
        "",
        "Accounts called thieves by the detectors together, at a promised 1 % of lives, and by "
        "`steps` alone, with the 95 % interval for other accounts that draw from the same images.",
        "",
        *markdown(("family", "what it is", "accounts", "called thieves", "by `steps`"), rows),
        "",
    ]


def _share(found: Found, own: Sequence[Outcome], rule: str) -> str:
    flagged = sum(found.caught(each, rule) is not None for each in own)
    low, high = clopper_pearson(flagged, len(own))
    return f"{100 * flagged / len(own):.0f} % ({100 * low:.0f}-{100 * high:.0f})"


def habits(found: Found) -> list[str]:
    """Lay out each habit: those whose accounts are called thieves most often first."""
    ranked = sorted(found.habits(), key=lambda name: -_flagged(found, name))
    rows = [_row(found, name) for name in ranked]
    head = ("habit", "family", "called thieves", "by", "at query, median", "critical", "`steps`")
    return [
        "## By habit",
        "",
        "Of the accounts of each habit, how many are called thieves, by which detector how many, "
        "after how many queries, and how many as *critical*; and how many by `steps` alone.",
        "",
        *markdown(head, rows),
        "",
    ]


def _flagged(found: Found, name: str) -> float:
    own = found.of(name)
    return sum(found.caught(each) is not None for each in own) / len(own)


def _row(found: Found, name: str) -> tuple[str, ...]:
    own = found.of(name)
    alarms = [found.alarms(each) for each in own]
    firsts = [min(each.values()) for each in alarms if each]
    by = {label: sum(label in each for each in alarms) for label in found.limits[RULE]}
    grades = [found.grade(each) for each in own]
    return (
        name,
        HABITS[name].family,
        f"{len(firsts)}/{len(own)}",
        ", ".join(f"{label} {count}" for label, count in by.items() if count),
        f"{median(firsts):,.0f}" if firsts else "",
        str(grades.count(CRITICAL) or ""),
        str(sum(found.caught(each, STEPS) is not None for each in own) or ""),
    )
