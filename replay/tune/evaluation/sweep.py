"""The sweep: what every threshold would have done, from the scores that an evaluation wrote.

The statistics are computed once. `sweep.sql` then tries thresholds on them: all that change the
decision on any account (every account's maximum, and minus infinity), which is the exact ROC; 101
quantiles of the benign chunks' maxima, for the chunk FPR; and the profile's own.

Several detectors together are swept along one path: that of the account-level rule, with the
evaluated benign accounts as those that calibrate and alpha shared evenly. It goes beyond alpha = 1
(where the rule promises nothing) to the end of the ROC.

Whoever picks a threshold here picks it by the accounts it is measured on. That promises nothing:
`calibrate` does. Nor does a sweep know what a detector would have said had an alarm retired the
account and begun it anew, so "alarms per query" and "accounts used" are left to `evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from gamekeeper.detectors.engine import Profile
from gamekeeper.replay.tables import connect
from gamekeeper.replay.tune.evaluation.rates import CHUNK, clopper_pearson
from gamekeeper.replay.tune.evaluation.report import BENIGN
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.tables import arrow, write_parquet

FILE = "sweep.parquet"
PLOTS = "plots"
ALL_ATTACKS = "all attacks"
"""Stands for the attacks of all kinds together."""

COLUMNS = {
    "detector": "its name, or `any` for all detectors together",
    "point": "number of the setting among the detector's, from the highest thresholds as 1; for "
    "`any`, the profile's own setting comes last",
    "threshold": "alarm above it; null for `any`. Minus infinity alarms as soon as the detector is "
    "ready",
    "thresholds": "each detector's threshold at this point (a map)",
    "alpha": "for `any`: what the account-level rule would promise for these thresholds, were they "
    "chosen on these benign accounts",
    "own": "whether these are the profile's thresholds",
    "kind": f"of the traces, or `{ALL_ATTACKS}`; null where they are unlabelled",
    "role": "`benign`, `attack` or `unlabelled`",
    "accounts": "one account's queries to one model in one trace",
    "queries": "of these accounts",
    "alarmed": "accounts with at least one alarm query",
    "share": "alarmed / accounts: the lifetime false-alarm rate where traffic is benign, the share "
    "detected where it is an attack",
    "low": "lower end of the share's exact (Clopper-Pearson) 95 % interval",
    "high": "its upper end",
    "first_alarms_per_query": "alarmed accounts divided by the queries sent until then: alarms per "
    "query where an alarm ends the account",
    "chunks": f"chunks of {CHUNK} consecutive queries of an account; the last may be shorter",
    "chunks_alarmed": "of these, with at least one alarm query",
    "chunk_fpr": "chunks_alarmed / chunks, where traffic is benign",
    "detection_median": "queries sent when the first alarm is raised; an attack that is missed "
    "takes for ever, and null is for ever",
    "detection_worst": "the most of these, null if any is missed",
}
"""The columns of the table: one row per detector, point and kind of trace."""


class Choice(NamedTuple):
    """The lowest thresholds at which at most a share of the benign accounts ever alarm.

    `limit` is that share, None for the profile's own thresholds; `benign` and `attacks` are rows of
    the sweep, None where there are no such traces.
    """

    limit: float | None
    benign: dict[str, Any] | None
    attacks: dict[str, Any] | None

    @property
    def row(self) -> dict[str, Any]:
        """Either row, for what they have in common."""
        row = self.benign or self.attacks
        assert row is not None
        return row

    def document(self) -> dict[str, Any]:
        """Say it in JSON's types."""
        return {
            "detector": self.row["detector"],
            "limit": self.limit,
            "own": self.row["own"],
            "thresholds": dict(self.row["thresholds"]),
            "benign": self.benign and _without_thresholds(self.benign),
            "attacks": self.attacks and _without_thresholds(self.attacks),
        }


def _without_thresholds(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "thresholds"}


def check(profile: Profile) -> None:
    """Refuse a profile whose scores depend on its thresholds."""
    if profile.policy.mode == "reset":
        raise ProfileError(
            "--sweep needs scores that no alarm has reset, and the profile's policy is `reset`; "
            "add --set policy.mode=latch"
        )


def clear(out: Path) -> None:
    """Remove an earlier sweep, which other scores would belie."""
    (out / FILE).unlink(missing_ok=True)
    for path in (out / PLOTS).glob("*"):
        if path.suffix in {".png", ".html"}:
            path.unlink()


def sweep(
    out: Path, profile: Profile, advance: Callable[[int, int], None] = lambda done, total: None
) -> pa.Table:
    """Try every threshold on the scores in `out`; write `sweep.parquet` and return its rows.

    `COLUMNS` says what is in it. `profile` is the one that made the scores. `advance` is told the
    steps done so far and in all. Raises `ProfileError` for the policy `reset`, and `TraceError`
    where there are no scores.
    """
    check(profile)
    with connect(out) as connection:
        _run(connection, profile, advance)
        table = _with_intervals(connection.table("_sweep").to_arrow_table())
    write_parquet(table, out / FILE)
    return table


def _run(
    connection: duckdb.DuckDBPyConnection, profile: Profile, advance: Callable[[int, int], None]
) -> None:
    detectors = {
        "detector": [each.detector for each in profile.judged],
        "place": range(len(profile.judged)),
        "threshold": arrow.array([each.threshold for each in profile.judged], pa.float64()),
    }
    connection.from_arrow(arrow.table(detectors)).create("_detectors")
    connection.execute(f"SET VARIABLE chunk = {CHUNK}")
    text = (files("gamekeeper.replay.tune.evaluation") / "sweep.sql").read_text(encoding="utf-8")
    statements = connection.extract_statements(text)
    for done, statement in enumerate(statements):
        advance(done, len(statements))
        connection.execute(statement)
    advance(len(statements), len(statements))


def _with_intervals(table: pa.Table) -> pa.Table:
    """Put each share's interval behind it."""
    interval = cache(clopper_pearson)
    counts = zip(table["alarmed"].to_pylist(), table["accounts"].to_pylist(), strict=True)
    intervals = [interval(hits, total) for hits, total in counts]
    place = table.column_names.index("share") + 1
    for offset, name in enumerate(("low", "high")):
        ends = arrow.array([getattr(each, name) for each in intervals], pa.float64())
        table = table.add_column(place + offset, name, ends)
    return table.select(list(COLUMNS))


_LIMITS = (0.0, 0.01, 0.05, 0.1)
_PRINTED = (BENIGN, ALL_ATTACKS)


def choices(table: pa.Table) -> list[Choice]:
    """Pick few points of a sweep: the profile's own, then the lowest for a false-alarm rate each.

    Rates that the same point gives are told once, by the lowest; without benign traces there is
    the profile's point only.
    """
    points: dict[str, dict[int, dict[str, dict[str, Any]]]] = {}
    for row in table.filter(arrow.compute.is_in(table["kind"], arrow.array(_PRINTED))).to_pylist():
        of_detector = points.setdefault(row["detector"], {})
        of_detector.setdefault(row["point"], {})[row["kind"]] = row
    return [choice for each in points.values() for choice in _choose(list(each.values()))]


def _choose(points: list[dict[str, dict[str, Any]]]) -> list[Choice]:
    own = [kinds for kinds in points if next(iter(kinds.values()))["own"]]
    chosen = [Choice(None, each.get(BENIGN), each.get(ALL_ATTACKS)) for each in own]
    seen = set()
    # From the highest thresholds down, so the last that keeps a limit is the lowest.
    path = [kinds for kinds in points if kinds not in own and BENIGN in kinds]
    for limit in _LIMITS:
        kept = [kinds for kinds in path if kinds[BENIGN]["share"] <= limit]
        if kept and kept[-1][BENIGN]["point"] not in seen:
            seen.add(kept[-1][BENIGN]["point"])
            chosen.append(Choice(limit, kept[-1][BENIGN], kept[-1].get(ALL_ATTACKS)))
    return chosen


HEADINGS = (
    "detector",
    "if false alarms are at most",
    "alarm above",
    "ever alarmed (95 % interval)",
    "chunk FPR",
    "caught",
    "to detection, median",
    "worst",
)


def cells(choice: Choice) -> list[Any]:
    """Say a choice in the words of `HEADINGS`."""
    benign, attacks = choice.benign, choice.attacks
    caught = attacks and f"{attacks['alarmed']}/{attacks['accounts']}"
    return [
        choice.row["detector"],
        "as the profile has it" if choice.limit is None else f"{100 * choice.limit:g} %",
        ", ".join(f"{value:.6g}" for _, value in choice.row["thresholds"]),
        benign and _false_alarms(benign),
        benign and f"{100 * benign['chunk_fpr']:.3g} %",
        caught,
        attacks and (attacks["detection_median"] or "missed"),
        attacks and (attacks["detection_worst"] or "missed"),
    ]


def _false_alarms(row: dict[str, Any]) -> str:
    low, high = (f"{100 * row[end]:.3g}" for end in ("low", "high"))
    return f"{row['alarmed']}/{row['accounts']} ({low}-{high} %)"
