"""Lines for a plot: the statistics of a few accounts, thinned to what can be seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from gamekeeper.replay.tables import connect
from gamekeeper.replay.tune.evaluation import BENIGN

_BENIGN = 40
_OTHERS = 24
_POINTS = 150

# Accounts are taken at even steps of rank by their highest statistic, so that the highest is always
# there; a stretch of queries is shown by its highest statistic, so that no alarm is lost.
_LINES = """
WITH lives AS (
    SELECT
        detector, trace, account, model, any_value(kind) AS kind,
        max(statistic) AS peak, max(query) + 1 AS queries
    FROM scores
    GROUP BY detector, trace, account, model
    HAVING peak IS NOT NULL
),
ranked AS (
    SELECT
        *,
        row_number() OVER place AS rank,
        count(*) OVER (PARTITION BY detector, kind) AS present,
        CASE WHEN kind = $benign THEN $most_benign ELSE 1 + $most_others // (
            SELECT count(DISTINCT coalesce(kind, '')) FROM lives WHERE kind IS DISTINCT FROM $benign
        ) END AS most
    FROM lives
    WINDOW place AS (PARTITION BY detector, kind ORDER BY peak, trace, account, model)
),
picked AS (
    SELECT * FROM ranked
    WHERE present <= most OR rank * most // present > (rank - 1) * most // present
)
SELECT
    detector, picked.kind, trace, account, model, present,
    arg_max(query, statistic) + 1 AS query, max(statistic) AS statistic
FROM scores JOIN picked USING (detector, trace, account, model)
WHERE statistic IS NOT NULL AND isfinite(statistic)
GROUP BY
    detector, picked.kind, trace, account, model, present, query * $points // queries
ORDER BY detector, picked.kind = $benign DESC, picked.kind, trace, account, model, query
"""


class Line(NamedTuple):
    """One account's statistic over its queries; `present` accounts are of its kind."""

    detector: str
    kind: str | None
    trace: str
    account: str
    model: str
    present: int
    points: list[tuple[int, float]]


def read_lines(out: Path) -> list[Line]:
    """Read the lines of at most 40 benign and about 24 other accounts per detector from `out`.

    A point is the number of queries sent, and the statistic after them. Accounts for which the
    detector was never ready have no line.
    """
    parameters: dict[str, Any] = {
        "benign": BENIGN,
        "most_benign": _BENIGN,
        "most_others": _OTHERS,
        "points": _POINTS,
    }
    with connect(out) as connection:
        rows = connection.execute(_LINES, parameters).fetchall()
    lines: dict[tuple[str, ...], Line] = {}
    for detector, kind, trace, account, model, present, query, statistic in rows:
        line = Line(detector, kind, trace, account, model, present, [])
        line = lines.setdefault((detector, trace, account, model), line)
        line.points.append((query, statistic))
    return list(lines.values())
