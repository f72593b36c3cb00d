"""What the papers measured, laid beside what a bench finds.

PRADA's figures are for its MNIST and GTSRB models (version 1, Table 2; version 2, Tables III to V,
VIII, IX), with 10 seeds of each class (version 1: 50 seeds on MNIST). Zhang and Wagner's are for
CIFAR-10, 50,000 queries, 5,000 seeds unless said otherwise. Attacks have the names that they have
here: T-RND-64 is `t-rnd-ifgsm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Detected = Mapping[str, str]
"""Queries until detection by attack."""

TABLE_VIII: Final[tuple[tuple[str, str, Detected], ...]] = (
    ("MNIST, W < 0.95", "0.0 %", {"tramer": "5,560", "papernot": "120", "t-rnd-ifgsm": "140"}),
    ("MNIST, W < 0.96", "0.0 %", {"tramer": "5,560", "papernot": "120", "t-rnd-ifgsm": "130"}),
    (
        "GTSRB, W < 0.87",
        "0.0 %",
        {"tramer": "5,020", "papernot": "430", "t-rnd-ifgsm": "missed", "color": "550"},
    ),
    (
        "GTSRB, W < 0.90",
        "0.6 %",
        {"tramer": "5,020", "papernot": "430", "t-rnd-ifgsm": "missed", "color": "480"},
    ),
    (
        "GTSRB, W < 0.94",
        "0.1 % without sequences",
        {"tramer": "5,020", "papernot": "430", "t-rnd-ifgsm": "440", "color": "440"},
    ),
)
"""PRADA version 2, Table VIII: model and threshold, chunk FPR, queries until detection."""

TABLE_2: Final[tuple[tuple[str, Detected], ...]] = (
    ("MNIST", {"tramer": "3,041", "papernot": "70", "jb-topk": "71", "jb-self": "71"}),
    ("GTSRB", {"tramer": "1,049", "papernot": "449", "jb-topk": "448", "jb-self": "452"}),
)
"""PRADA version 1, Table 2."""

TABLE_IX: Final[Mapping[str, str]] = {
    "papernot": "+890 % / +620 %",
    "t-rnd-ifgsm": "+300 % / +300 %",
    "tramer": "+800 % / +1,000 %",
    "color": "- / +600 %",
}
"""PRADA version 2, Table IX: more queries with dummies, MNIST / GTSRB; counted, not made."""

AGREEMENT: Final[Mapping[str, str]] = {
    "tramer": "0.06 / 0.00 / -",
    "papernot": "0.95 / 0.17 / -",
    "n-ifgsm": "0.96 / 0.45 / -",
    "t-rnd-fgsm": "0.97 / 0.26 / -",
    "t-rnd-ifgsm": "0.98 / 0.48 / -",
    "color": "0.89 / 0.63 / -",
    "random": "- / - / 0.66 of 500 queries",
    "jb-top3": "- / - / 0.67",
    "jba-pgd": "- / - / 0.72",
    "jba-cw": "- / - / 0.61",
    "jba-binary-search": "- / - / 0.63",
    "dfme": "- / - / 0.10",
}
"""MNIST / GTSRB / CIFAR-10. Test agreement of PRADA version 2 (Tables III to V; about 100,000
queries); accuracy of Zhang and Wagner (Tables I and III; 50,000 queries from 500 seeds, which are
all that `random` asks)."""

ACCOUNTS: Final[Mapping[str, Mapping[str, tuple[int, float]]]] = {
    "jb-top3": {
        "plain": (59, 0.87),
        "filter": (55, 0.82),
        "filter-seeds": (11, 0.86),
        "blind-crop": (50, 0.85),
        "blind-brightness": (221, 0.77),
        "blind-scale": (28, 0.86),
        "blind-rotate": (59, 0.86),
        "blind-contrast": (266, 0.79),
        "blind-uniform": (245, 0.79),
        "blind-gaussian": (179, 0.77),
        "blind-translate": (19, 0.85),
        "blind-auto-encoder": (6, 0.81),
    },
    "jba-pgd": {
        "plain": (21, 0.87),
        "filter": (21, 0.87),
        "filter-seeds": (8, 0.87),
        "blind-crop": (26, 0.86),
        "blind-brightness": (88, 0.83),
        "blind-scale": (16, 0.86),
        "blind-rotate": (18, 0.87),
        "blind-contrast": (226, 0.82),
        "blind-uniform": (91, 0.82),
        "blind-gaussian": (84, 0.82),
        "blind-translate": (13, 0.86),
        "blind-auto-encoder": (2, 0.82),
    },
    "jba-cw": {"plain": (126, 0.85)},
    "jba-binary-search": {"plain": (765, 0.85)},
}
"""Zhang and Wagner, Tables VII, X and XI: accounts that 50,000 queries use, and the accuracy."""
QUERIES: Final = 50_000

DFME: Final[Mapping[str, tuple[int, float]]] = {
    "plain": (56_981, 0.89),
    "filter": (126_674, 0.87),
    "blind-uniform": (57_394, 0.87),
    "blind-gaussian": (57_222, 0.88),
    "blind-scale": (56_981, 0.88),
    "blind-brightness": (56_994, 0.89),
    "blind-rotate": (56_981, 0.89),
    "blind-contrast": (112_231, 0.70),
    "blind-crop": (56_981, 0.88),
    "blind-translate": (56_981, 0.85),
}
"""Ibid., Table XIII, of 20 million queries."""
DFME_QUERIES: Final = 20_000_000

LIKELIHOOD: Final[Mapping[str, int]] = {"jb-top3": 122}
"""Ibid., Table XIV, seeds from CIFAR-10; alarms per query are 0.01 % there, 1.2 to 1.5 % on
CIFAR-100, TinyImageNet and Indoor67 (Table XV)."""


def similarity_of(attack: str, evasion: str) -> tuple[str, str]:
    """Give the accounts per 10,000 queries, and the accuracy, where the paper has them.

    >>> similarity_of("jb-top3", "plain"), similarity_of("papernot", "plain")
    (('11.8', '0.87'), ('', ''))
    """
    table, queries = (
        (DFME, DFME_QUERIES) if attack == "dfme" else (ACCOUNTS.get(attack, {}), QUERIES)
    )
    if evasion not in table:
        return "", ""
    accounts, accuracy = table[evasion]
    return f"{accounts / queries * 10_000:.1f}", f"{accuracy:.2f}"


def likelihood_of(attack: str, evasion: str) -> tuple[str, str]:
    """Give the accounts per 10,000 queries where the paper has them; it names no accuracy."""
    if evasion != "plain" or attack not in LIKELIHOOD:
        return "", ""
    return f"{LIKELIHOOD[attack] / QUERIES * 10_000:.1f}", ""
