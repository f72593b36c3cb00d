"""How promises stood over time, as far as the tables tell it.

An account's lives are known from its queries or scores; where there is neither table, it is not
known who did not alarm, and nothing is said. No row tells the profile of an account without
findings: it is the one whose findings lie before and after, the later one where it is between two.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple

import duckdb
import msgspec

from gamekeeper.detectors.drift import Judged, Limits, Period, limits_of, lives, periods
from gamekeeper.replay.tables.times import moment

HELD: Final = "held"
SUSPENDED: Final = "suspended"
UNKNOWN: Final = "not known"
NONE: Final = "none made"

_PROFILES = """
WITH opened AS (
    SELECT model, profile, min(last_time) AS first, max(last_time) AS last, min(promise) AS promise
    FROM verdicts WHERE activity = 'create' GROUP BY model, profile
)
SELECT
    model,
    profile,
    promise,
    CASE WHEN before IS NULL THEN NULL ELSE least(first, before) END AS begun
FROM (SELECT *, max(last) OVER earlier AS before FROM opened WINDOW earlier AS (
    PARTITION BY model ORDER BY first, profile ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
))
ORDER BY model, first, profile
"""

_JUDGED = """
WITH sent AS (
    SELECT account, query, "time" FROM queries WHERE model = $model
    UNION ALL SELECT account, query, "time" FROM scores WHERE model = $model
),
judged AS (
    SELECT
        account,
        epoch_us(min("time")) AS since,
        epoch_us(max("time")) AS last,
        max(query) + 1 - min(query) AS queries,
        min(query) AS first
    FROM sent
    WHERE "time" >= coalesce($begun, "time") AND ($ended IS NULL OR "time" < $ended)
    GROUP BY account
),
found AS (
    SELECT
        account,
        min(query) AS query,
        epoch_us(arg_min(last_time, query)) AS found_at,
        arg_min(coalesce(kind, ''), query) AS kind
    FROM verdicts
    WHERE activity = 'create' AND model = $model AND profile = $profile
        AND detector != 'declared' AND severity != 'low'
    GROUP BY account
)
SELECT
    since,
    last,
    queries,
    CASE WHEN query IS NOT NULL THEN greatest(0, query - first) END AS found,
    coalesce(found_at, 0) AS found_at,
    coalesce(kind, '') AS kind
FROM judged LEFT JOIN found USING (account)
ORDER BY since, account
"""


class Standing(NamedTuple):
    """How a profile's promise stood in a period, and the lives that spoke most against it.

    The fields are the columns of the view `promises`: None where nothing is known or was promised,
    and `ended` where the period goes on.
    """

    model: str
    profile: str
    standing: str
    begun: datetime | None = None
    ended: datetime | None = None
    since: datetime | None = None
    lives: int | None = None
    alarmed: int | None = None
    allowed: float | None = None
    theft: int | None = None
    variants: int | None = None
    other_data: int | None = None
    load: int | None = None


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    """Fill the table that the view `promises` shows, from the tables as they are now."""
    rows = list(standings(connection))
    connection.execute("DELETE FROM _promises")
    if rows:
        marks = ", ".join("?" * len(Standing._fields))
        connection.executemany(f"INSERT INTO _promises VALUES ({marks})", rows)  # noqa: S608


def standings(connection: duckdb.DuckDBPyConnection) -> Iterator[Standing]:
    """Tell how the promises stood of all models and profiles that have findings, by time."""
    profiles = connection.execute(_PROFILES).fetchall()
    for model, group in groupby(profiles, key=lambda row: row[0]):
        ruling = list(group)
        ends = [begun for *_, begun in ruling[1:]] + [None]
        for (_, profile, promise, begun), ended in zip(ruling, ends, strict=True):
            limits = limits_of(msgspec.json.decode(promise))
            if limits is None:
                yield Standing(model, profile, NONE)
                continue
            bounds = {"model": model, "profile": profile, "begun": begun, "ended": ended}
            judged = connection.execute(_JUDGED, bounds).fetchall()
            yield from _periods(model, profile, limits, [Judged(*row) for row in judged])


def _periods(model: str, profile: str, limits: Limits, judged: list[Judged]) -> Iterator[Standing]:
    if not judged:
        yield Standing(model, profile, UNKNOWN)
    known = (life for each in judged for life in lives(each, limits))
    for period in periods(known, limits):
        yield _standing(model, profile, period)


def _standing(model: str, profile: str, period: Period) -> Standing:
    worst = period.worst
    kinds = {kind.replace(" ", "_"): count for kind, count in worst.alarmed.items() if kind}
    return Standing(
        model,
        profile,
        SUSPENDED if period.suspended else HELD,
        moment(period.begun),
        None if period.ended is None else moment(period.ended),
        moment(worst.since) if worst.lives else None,
        worst.lives,
        sum(worst.alarmed.values()),
        worst.allowed,
        **{**dict.fromkeys(("theft", "variants", "other_data", "load"), 0), **kinds},
    )
