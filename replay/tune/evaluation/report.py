"""The evaluation's table: one row per detector and kind of trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, Literal

import msgspec

from gamekeeper.replay.tune.evaluation.evaluate import LifeResult
from gamekeeper.replay.tune.evaluation.life import Tally
from gamekeeper.replay.tune.evaluation.rates import (
    CHUNK,
    Interval,
    chunks_of,
    clopper_pearson,
    rate,
    typical,
    worst,
)

BENIGN = "benign"

Role = Literal["benign", "attack", "unlabelled"]

DEFINITIONS = {
    "account": "one account's queries to one model in one trace",
    "alarmed": "accounts with at least one alarm query, a query after which the statistic is above "
    "the threshold: false alarms over a lifetime where traffic is benign, caught where it is not; "
    "with its exact (Clopper-Pearson) 95 % interval",
    "alarms_per_query": "alarms divided by queries, when every alarm retires the account and its "
    "traffic goes on under a new one, with the detectors begun anew",
    "chunk_fpr": f"share of chunks of {CHUNK} consecutive queries of a benign account (the last "
    "one may be shorter) with at least one alarm query",
    "queries_to_detection": "queries sent when the first alarm is raised; a missed attack counts "
    "as one that takes for ever",
    "accounts_used": "alarms raised over one attack when every alarm retires the account and the "
    "attack goes on under a new one (median over the attacks of the kind)",
    "any": "all detectors together: the first alarm of any of them counts",
}


class Row(msgspec.Struct, frozen=True):
    """One detector on all traces of one kind; None where a figure has no meaning."""

    detector: str
    kind: str | None
    role: Role
    accounts: int
    queries: int
    alarmed: int
    interval: Interval
    alarms: int
    alarms_per_query: float | None
    chunks: int
    chunks_alarmed: int
    chunk_fpr: float | None
    detection_median: float | None
    detection_worst: int | None
    accounts_used: float | None


def tabulate(results: Sequence[LifeResult]) -> list[Row]:
    """Sum lives up per detector (in the profile's order) and kind (benign first)."""
    kinds = sorted({each.life.kind for each in results}, key=_kind_order)
    detectors = [tally.detector for tally in results[0].tallies]
    return [
        _row(place, kind, [each for each in results if each.life.kind == kind])
        for place in range(len(detectors))
        for kind in kinds
    ]


def _kind_order(kind: str | None) -> tuple[bool, bool, str]:
    return kind is None, kind != BENIGN, kind or ""


def role_of(kind: str | None) -> Role:
    """Say what traces of a kind are.

    >>> role_of("benign"), role_of("papernot"), role_of(None)
    ('benign', 'attack', 'unlabelled')
    """
    if kind is None:
        return "unlabelled"
    return "benign" if kind == BENIGN else "attack"


def _row(place: int, kind: str | None, results: Sequence[LifeResult]) -> Row:
    tallies = [each.tallies[place] for each in results]
    role = role_of(kind)
    queries = sum(each.life.queries for each in results)
    chunks = sum(chunks_of(each.life.queries) for each in results)
    alarmed = sum(tally.detection is not None for tally in tallies)
    alarms = sum(tally.alarms for tally in tallies)
    chunks_alarmed = sum(tally.chunks for tally in tallies)
    detections = [tally.detection for tally in tallies]
    attack = role == "attack"
    return Row(
        detector=tallies[0].detector,
        kind=kind,
        role=role,
        accounts=len(results),
        queries=queries,
        alarmed=alarmed,
        interval=clopper_pearson(alarmed, len(results)),
        alarms=alarms,
        alarms_per_query=rate(alarms, queries),
        chunks=chunks,
        chunks_alarmed=chunks_alarmed,
        chunk_fpr=rate(chunks_alarmed, chunks) if role == "benign" else None,
        detection_median=typical(detections) if attack else None,
        detection_worst=worst(detections) if attack else None,
        accounts_used=_accounts_used(tallies) if attack else None,
    )


def _accounts_used(tallies: Iterable[Tally]) -> float:
    return float(median(tally.alarms for tally in tallies))


HEADINGS = (
    "detector",
    "traffic",
    "accounts",
    "queries",
    "alarmed (95 % interval)",
    "alarms per query",
    "chunk FPR",
    "to detection, median",
    "worst",
    "accounts used",
)


def cells(row: Row) -> list[Any]:
    """Say a row in the words of `HEADINGS`."""
    word = {"benign": "false", "attack": "caught", "unlabelled": "alarmed"}[row.role]
    low, high = (f"{100 * end:.3g}" for end in row.interval)
    missed = "missed" if row.role == "attack" else None
    return [
        row.detector,
        row.kind or "unlabelled",
        row.accounts,
        row.queries,
        f"{row.alarmed}/{row.accounts} {word} ({low}-{high} %)",
        _percent(row.alarms_per_query),
        _percent(row.chunk_fpr),
        _whole(row.detection_median) or missed,
        row.detection_worst or missed,
        _whole(row.accounts_used),
    ]


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.3g} %"


def _whole(value: float | None) -> int | float | None:
    return int(value) if value is not None and value.is_integer() else value
