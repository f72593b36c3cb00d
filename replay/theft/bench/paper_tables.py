"""A bench's cells laid out as the papers' tables are, with their figures beside."""

from __future__ import annotations

from collections.abc import Callable

from gamekeeper.replay.theft.bench import papers
from gamekeeper.replay.theft.bench.rules import DELTAS
from gamekeeper.replay.theft.bench.tables import (
    CAUGHT,
    Found,
    agreement,
    detected,
    markdown,
    middle,
    used,
)


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
