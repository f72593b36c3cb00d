"""What a bench of habits leaves: its Markdown, and its accounts as Parquet."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from gamekeeper.replay.honest.bench.tables import Found, families, habits
from gamekeeper.replay.honest.catalog import HABITS
from gamekeeper.schemas.files import write_whole
from gamekeeper.schemas.tables import write_parquet


def write_report(folder: Path, found: Found, heading: str) -> list[Path]:
    """Write `honest.md` and `honest.parquet`; return the files."""
    lines = ["# gamekeeper bench honest", "", heading, "", *families(found), *habits(found)]
    text, rows = folder / "honest.md", folder / "honest.parquet"
    write_whole(text, ("\n".join(lines).rstrip() + "\n").encode())
    write_parquet(tabulate(found), rows)
    return [text, rows]


def tabulate(found: Found) -> pa.Table:
    """Lay out accounts, one row per account and rule."""
    return pa.Table.from_pylist(
        [
            {
                "habit": each.habit,
                "family": HABITS[each.habit].family,
                "account": each.number,
                "sent": each.sent,
                "rule": rule,
                "queries_to_alarm": found.caught(each, rule),
                "detectors": sorted(found.alarms(each, rule)),
            }
            for each in found.outcomes
            for rule in found.limits
        ],
        schema=_COLUMNS,
    )


_FIELDS: dict[str, pa.DataType] = {
    "habit": pa.string(),
    "family": pa.string(),
    "account": pa.int32(),
    "sent": pa.int64(),
    "rule": pa.string(),
    "queries_to_alarm": pa.int64(),
    "detectors": pa.list_(pa.string()),
}
_COLUMNS = pa.schema(_FIELDS)
