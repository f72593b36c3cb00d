"""A bench's cells as Markdown tables, with the papers' figures beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from gamekeeper.detectors.base import Floats
from gamekeeper.replay.bench import papers
from gamekeeper.replay.bench.cell import PLAIN, Cell
from gamekeeper.replay.bench.setting import DELTAS
from gamekeeper.replay.rates import clopper_pearson, typical
from gamekeeper.replay.rates import worst as slowest


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
        above = [self.test[name].max(axis=1) > limit for name, limit in self.limits[rule].items()]
        flags = np.any(above, axis=0)
        low, high = clopper_pearson(int(flags.sum()), len(flags))
        return f"{100 * flags.mean():.1f} % ({100 * low:.1f}-{100 * high:.1f})"

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


def prada(found: Found) -> list[str]:
    """Paper 002, Table VIII: queries to detection for each threshold."""
    attacks = found.attacks()
    rows = []
    for delta in DELTAS:
        rule = f"prada W < {delta:.2f}"
        seen = [detected(found.of(each), rule) for each in attacks]
        rows.append((f"W < {delta:.2f}", found.chunk_fpr(rule), found.flagged(rule), *seen))
    head = ("threshold", "chunk FPR", "accounts flagged", *attacks)
    hardened = [detected(found.of(each), "prada") for each in attacks]
    rows.append(
        ("hardened, 1 % of lives", found.chunk_fpr("prada"), found.flagged("prada"), *hardened)
    )
    for model, fpr, theirs in papers.TABLE_VIII:
        rows.append((f"the paper: {model}", fpr, "", *(theirs.get(each, "") for each in attacks)))
    return ["## PRADA, version 2, Table VIII", "", CAUGHT, "", *markdown(head, rows), ""]


def prada_v1(found: Found) -> list[str]:
    """Paper 000, Table 2: the first version's queries to detection."""
    attacks = found.attacks()
    row = [detected(found.of(each), "prada-v1") for each in attacks]
    head = ("detector", "accounts flagged", *attacks)
    rows = [("prada-v1, 1 % of lives", found.flagged("prada-v1"), *row)]
    for model, theirs in papers.TABLE_2:
        rows.append((f"the paper: {model}", "", *(theirs.get(each, "") for each in attacks)))
    return ["## PRADA, version 1, Table 2", "", *markdown(head, rows), ""]


def dummies(found: Found) -> list[str]:
    """Paper 002, Table IX: what evading by dummy queries costs."""
    rows = []
    for attack in found.attacks():
        cells = found.of(attack, "dummy")
        more = middle((100 * (each.sent - each.asked) / each.asked for each in cells), "{:+.0f} %")
        rows.append(
            (
                attack,
                detected(found.of(attack), "prada"),
                detected(cells, "prada"),
                detected(cells, "combined"),
                more,
                papers.TABLE_IX.get(attack, ""),
            )
        )
    head = (
        "attack",
        "plain",
        "with dummies, prada",
        "with dummies, all detectors",
        "overhead",
        "the paper's, MNIST / GTSRB",
    )
    return ["## PRADA, version 2, Table IX", "", CAUGHT, "", *markdown(head, rows), ""]


def similarity(found: Found) -> list[str]:
    """Paper 004, Tables VII to XIII: accounts used and what is stolen."""
    return [
        "## Zhang and Wagner, Tables VII to XIII",
        "",
        *_by_rule(found, "similarity", papers.similarity_of),
    ]


def likelihood(found: Found) -> list[str]:
    """Paper 004, Tables XIV and XV."""
    return [
        "## Zhang and Wagner, Tables XIV and XV",
        "",
        *_by_rule(found, "likelihood", papers.likelihood_of),
    ]


def _by_rule(found: Found, name: str, theirs: Callable[[str, str], tuple[str, str]]) -> list[str]:
    rule = f"{name} per query"
    rows = [
        (
            attack,
            evasion,
            detected(cells, rule),
            used(cells, rule),
            agreement(cells, "stolen"),
            *theirs(attack, evasion),
        )
        for attack in found.attacks()
        for evasion in found.evasions()
        if (cells := found.of(attack, evasion))
    ]
    head = (
        "attack",
        "evasion",
        "caught, median, worst",
        "accounts per 10,000",
        "agreement",
        "the paper's accounts",
        "its accuracy",
    )
    return [
        f"Accounts flagged at this threshold: {found.flagged(rule)}.",
        "",
        *markdown(head, rows),
        "",
    ]


def agreement(cells: Sequence[Cell], when: str) -> str:
    """Write the median of what thieves have, at the end (`stolen`) or when caught (`leaked`)."""
    figures = [getattr(each, when) for each in cells]
    return middle(each.agreement.macro_f if each else None for each in figures)


def extraction(found: Found) -> list[str]:
    """Paper 002, Table V, and 004, Tables I to VI: what each attack steals."""
    rows = []
    for attack in found.attacks():
        got = [each.stolen for each in found.of(attack)]
        rows.append(
            (
                attack,
                middle((float(each.images) for each in got), "{:,.0f}"),
                middle(each.agreement.macro_f for each in got),
                papers.AGREEMENT.get(attack, ""),
                middle(each.agreement.random_uniform for each in got),
                middle(each.transfer["mi-fgsm"].targeted for each in got),
                middle(each.transfer["mi-fgsm"].non_targeted for each in got),
            )
        )
    head = (
        "attack",
        "labelled images",
        "test agreement",
        "the papers', MNIST / GTSRB / CIFAR-10",
        "random uniform agreement",
        "targeted",
        "non-targeted",
    )
    return [
        "## What each attack steals",
        "",
        "Medians over the runs; transferability by MI-FGSM.",
        "",
        *markdown(head, rows),
        "",
    ]


def worst(found: Found) -> list[str]:
    """Name the cells that thieves would choose: least caught, then most leaked."""
    ranked = sorted(_groups(found), key=lambda group: (_share(group[2]), -_leak(group[2])))
    lines = [
        f"* {attack}, {evasion}: {detected(cells, 'combined')}; "
        f"agreement {agreement(cells, 'leaked') or agreement(cells, 'stolen')}"
        for attack, evasion, cells in ranked[:20]
        if _share(cells) < 1
    ]
    return ["## What is caught least", "", *(lines or ["Every run was caught."]), ""]


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
        f"Honest accounts flagged: {found.flagged('combined')}. {CAUGHT}",
        "",
        *markdown(head, rows),
        "",
    ]


CAUGHT = "Cells give runs caught, median and worst queries to detection."


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
