"""What a bench leaves: its Markdown, its cells as Parquet, its plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from gamekeeper.replay.theft.bench.benches import Bench
from gamekeeper.replay.theft.bench.cell import Cell
from gamekeeper.replay.theft.bench.tables import Found
from gamekeeper.replay.tune.drawing import undrawn
from gamekeeper.schemas.files import write_whole
from gamekeeper.schemas.tables import write_parquet


def write_report(folder: Path, name: str, bench: Bench, found: Found, heading: str) -> list[Path]:
    """Write `NAME.md`, `NAME.parquet` and `plots/NAME-*.png|html`; return the files.

    Where plots cannot be drawn (`drawing.undrawn`), they are left out.
    """
    lines = [f"# gamekeeper bench {name}", "", heading, ""]
    for table in bench.tables:
        lines += table(found)
    text, rows = folder / f"{name}.md", folder / f"{name}.parquet"
    write_whole(text, ("\n".join(lines).rstrip() + "\n").encode())
    write_parquet(tabulate(found.cells), rows)
    return [text, rows, *([] if undrawn() else _plots(folder / "plots", name, found))]


def _plots(folder: Path, name: str, found: Found) -> list[Path]:
    from gamekeeper.replay.theft.bench.plots import draw  # brings Altair, which may be missing
    from gamekeeper.replay.tune.plots import write_plot

    written = []
    for title, chart in draw(found):
        written += write_plot(*chart, folder / f"{name}-{title}")
    return written


def tabulate(cells: Sequence[Cell]) -> pa.Table:
    """Lay out cells, one row per cell and rule."""
    return pa.Table.from_pylist(
        [
            {
                "attack": each.attack,
                "evasion": each.evasion,
                "run": each.run,
                "asked": each.asked,
                "sent": each.sent,
                "accounts": each.accounts,
                "over": each.over,
                "seconds": each.seconds,
                "rule": rule,
                "queries_to_detection": each.caught[rule],
                "accounts_used": each.used[rule],
                "agreement": each.stolen.agreement.macro_f,
                "random_uniform_agreement": each.stolen.agreement.random_uniform,
                "leak": each.leaked.agreement.macro_f if each.leaked else None,
            }
            for each in cells
            for rule in each.caught
        ],
        schema=_COLUMNS,
    )


_FIELDS: dict[str, pa.DataType] = {
    "attack": pa.string(),
    "evasion": pa.string(),
    "run": pa.int32(),
    "asked": pa.int64(),
    "sent": pa.int64(),
    "accounts": pa.int32(),
    "over": pa.string(),
    "seconds": pa.float64(),
    "rule": pa.string(),
    "queries_to_detection": pa.int64(),
    "accounts_used": pa.int32(),
    "agreement": pa.float64(),
    "random_uniform_agreement": pa.float64(),
    "leak": pa.float64(),
}
_COLUMNS = pa.schema(_FIELDS)
