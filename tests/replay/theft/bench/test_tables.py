"""Do the tables say what the cells say?"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from gamekeeper.replay.theft.bench import paper_tables, tables
from gamekeeper.replay.theft.bench.benches import BENCHES
from gamekeeper.replay.theft.bench.cell import PLAIN, Cell
from gamekeeper.replay.theft.bench.report import tabulate
from gamekeeper.replay.theft.bench.rules import DELTAS
from gamekeeper.replay.theft.bench.tables import Found
from gamekeeper.replay.theft.thief import Stolen
from gamekeeper.replay.theft.thief.agreement import Agreement
from gamekeeper.replay.theft.thief.transfer import Transfer

WATCHES = ("prada", "prada-paper", "prada-v1", "similarity", "likelihood", "ood", "steps")
RULES = (
    "combined",
    *WATCHES,
    *(f"prada W < {each:.2f}" for each in DELTAS),
    "similarity per query",
    "likelihood per query",
)


def _stolen(agreement: float) -> Stolen:
    moves = {"mi-fgsm": Transfer(0.5, 0.25, 9.0)}
    return Stolen(100, Agreement(agreement, 0.5, 0.1), moves)


def _cell(attack: str, evasion: str, run: int, caught: int | None) -> Cell:
    return Cell(
        attack=attack,
        evasion=evasion,
        run=run,
        asked=1000,
        sent=2000,
        accounts=1,
        over=None,
        records={},
        caught=dict.fromkeys(RULES, caught),
        used=dict.fromkeys(RULES, 4 if caught else 0),
        stolen=_stolen(0.9),
        leaked=_stolen(0.3) if caught else None,
        seconds=1.0,
    )


@pytest.fixture
def found() -> Found:
    """Return two attacks, one of which hides well."""
    cells = [
        _cell("papernot", PLAIN, 0, 100),
        _cell("papernot", PLAIN, 1, 300),
        _cell("papernot", "dummy", 0, 700),
        _cell("tramer", PLAIN, 0, 50),
        _cell("tramer", "dummy", 0, None),
    ]
    limits = {rule: {"prada-paper": 0.5} for rule in RULES}
    chunks = np.array([[0.1, 0.6], [0.1, 0.2], [0.1, 0.2], [0.1, 0.2]])
    return Found(cells, limits, {"prada-paper": chunks}, np.zeros((4, 1)), 1)


def test_the_matrix_has_every_group(found: Found) -> None:
    """Each attack under each evasion has a line with runs caught, median and worst."""
    text = "\n".join(tables.combined(found))
    assert "| papernot | plain | 2/2, 200, 300 | 0.30 | 0.90 | 20 | 2.0 |" in text
    assert "| tramer | dummy | 0/1, missed, missed |  | 0.90 | 0 | 2.0 |" in text


def test_the_matrix_in_brief_tells_what_was_missed(found: Found) -> None:
    """A cell has median and leak, and the share of runs caught where it is not all."""
    lines = tables.matrix(found)
    assert "| plain | 200 (0.30) | 50 (0.30) |" in lines
    assert "| dummy | 700 (0.30) | 0/1: missed (0.90) |" in lines


def test_the_worst_comes_first(found: Found) -> None:
    """What is caught least is named first; of what is always caught, what leaks most."""
    leaking = msgspec.structs.replace(_cell("color", PLAIN, 0, 60), leaked=_stolen(0.8))
    found = found._replace(cells=[*found.cells, leaking])
    lines = [line for line in tables.worst(found) if line.startswith("* ")]
    assert lines[0] == "* tramer, dummy: 0/1, missed, missed; agreement 0.90"
    assert lines[1] == "* color, plain: 1/1, 60, 60; agreement 0.80"
    assert len(lines) == 5


def test_false_alarms_are_counted_by_account_and_by_chunk(found: Found) -> None:
    """One of four accounts and one of eight chunks is above the threshold."""
    assert found.flagged("combined").startswith("25.0 % (")
    assert found.flagged_by("combined") == "prada-paper 25.0 %"
    assert found.chunk_fpr("combined") == "12.50 %"


def test_dummies_cost_what_was_sent_beyond_what_was_asked(found: Found) -> None:
    """The overhead is in percent of the images asked for."""
    text = "\n".join(paper_tables.dummies(found))
    assert "| tramer | 1/1, 50, 50 | 0/1, missed, missed | 0/1, missed, missed | +100 % |" in text


def test_cells_are_a_table_of_one_row_per_rule(found: Found) -> None:
    """The Parquet table has each cell once per rule, with nothing where nothing was caught."""
    table = tabulate(found.cells)
    assert table.num_rows == len(found.cells) * len(RULES)
    missed = table.filter(table["queries_to_detection"].is_null())
    assert set(missed["evasion"].to_pylist()) == {"dummy"}
    assert set(missed["leak"].to_pylist()) == {None}


@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_lays_out_its_cells(name: str, found: Found) -> None:
    """Each bench's tables can be made of cells, and name the attacks that were run."""
    text = "\n".join(line for table in BENCHES[name].tables for line in table(found))
    assert text.startswith("## ")
    assert name == "combined" or "papernot" in text


def test_benches_run_round_by_round() -> None:
    """All first runs come before any second one."""
    keys = BENCHES["prada"].keys((), (), 2)
    assert [key.run for key in keys] == sorted(key.run for key in keys)
    assert len(set(keys)) == len(keys)
