"""The tables' columns, and rows between them and what crosses the topics. Brings Arrow.

`columns` names them, `write` makes rows; `read` makes events of them again, `arrays` makes arrays
for many queries at once; `parquet` writes files.
"""

from gamekeeper.schemas.tables.arrays import Arrays, arrays_from_rows
from gamekeeper.schemas.tables.columns import GAPS, QUERIES, SCORES, TABLES, VERDICTS, arrow
from gamekeeper.schemas.tables.parquet import write_parquet, write_rows
from gamekeeper.schemas.tables.read import event_starts, events_from_rows
from gamekeeper.schemas.tables.write import many_query_rows, score_rows, verdict_rows

__all__ = [
    "GAPS",
    "QUERIES",
    "SCORES",
    "TABLES",
    "VERDICTS",
    "Arrays",
    "arrays_from_rows",
    "arrow",
    "event_starts",
    "events_from_rows",
    "many_query_rows",
    "score_rows",
    "verdict_rows",
    "write_parquet",
    "write_rows",
]
