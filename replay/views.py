"""The ready views over the tables: their SQL, and what one row of each is.

Apart from `gamekeeper.replay.tables`, so that help which names them does not wait for DuckDB.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_HELP = re.compile(r"^-- (?P<name>\w+): (?P<text>.+)$", re.MULTILINE)


@cache
def view_help() -> dict[str, str]:
    """Say what one row of each view is, in the order of `views.sql`."""
    return {found["name"]: found["text"] for found in _HELP.finditer(view_sql())}


def view_sql() -> str:
    """Read the statements that make the views."""
    path = files("gamekeeper.replay") / "tables" / "views.sql"
    return path.read_text(encoding="utf-8")
