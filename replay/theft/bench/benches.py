"""Which benches there are: the attacks and evasions that each runs, and its tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from gamekeeper.replay.theft.attacks import ATTACKS
from gamekeeper.replay.theft.bench import paper_tables, tables
from gamekeeper.replay.theft.bench.cell import PLAIN, Key
from gamekeeper.replay.theft.bench.tables import Found
from gamekeeper.replay.theft.evasions import EVASIONS

BLINDING: Final = tuple(name for name in EVASIONS if name.startswith("blind-"))
FILTERING: Final = tuple(name for name in EVASIONS if name.startswith("filter"))
JACOBIAN: Final = ("jb-top3", "jba-pgd", "jba-cw", "jba-binary-search")
"""Zhang and Wagner's attacks (Tables I to VII)."""


class Bench(NamedTuple):
    """A bench: its attacks and evasions, and how its tables are made."""

    attacks: tuple[str, ...]
    evasions: tuple[str, ...]
    tables: tuple[Callable[[Found], list[str]], ...]

    def keys(self, attacks: tuple[str, ...], evasions: tuple[str, ...], runs: int) -> list[Key]:
        """List the cells, run by run, so that an interrupted bench has some of each."""
        return [
            Key(attack, evasion, run)
            for run in range(runs)
            for evasion in evasions or self.evasions
            for attack in attacks or self.attacks
        ]


BENCHES: Final = {
    "prada": Bench(
        ("tramer", "papernot", "t-rnd-ifgsm", "color", "jb-topk", "jb-self"),
        (PLAIN,),
        (paper_tables.prada, paper_tables.prada_v1),
    ),
    "prada-evasion": Bench(
        ("papernot", "t-rnd-ifgsm", "tramer", "color"),
        (PLAIN, "dummy"),
        (paper_tables.dummies,),
    ),
    "similarity": Bench(
        (*JACOBIAN, "dfme"),
        (PLAIN, *FILTERING, *BLINDING),
        (paper_tables.similarity,),
    ),
    "likelihood": Bench(
        (*JACOBIAN, "dfme"),
        (PLAIN,),
        (paper_tables.likelihood,),
    ),
    "extraction": Bench(tuple(ATTACKS), (PLAIN,), (paper_tables.extraction,)),
    "combined": Bench(
        tuple(ATTACKS),
        (PLAIN, *EVASIONS),
        (tables.worst, tables.matrix, tables.combined),
    ),
}
