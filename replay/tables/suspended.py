"""What is said beside findings that were opened while a promise did not hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, get_args

from gamekeeper.detectors.drift import limits_of
from gamekeeper.replay.tables.promises import SUSPENDED, UNKNOWN, Standing
from gamekeeper.replay.tables.sql import connect, run
from gamekeeper.replay.tables.times import moment
from gamekeeper.schemas.text import printable
from gamekeeper.schemas.verdict import Kind, Verdict

_NEXT: Final = (
    "What was found of this account stands; how seldom honest ones alarm is not known any more: "
    "look whether those who alarm belong together, or calibrate again."
)
_UNKNOWN: Final = "it is not known whether it held when this was opened"
_LACKING: Final = (
    "the tables lack the queries or scores of that time (`gamekeeper sink --queries`, or --scores "
    "with workers that have GAMEKEEPER_SCORES=true)"
)


def at_opening(folder: Path | None, verdict: Verdict) -> str:
    """Say how the promise stood when the verdict opened a finding; empty where it held.

    It is empty, too, where nothing was promised. Without a folder of tables it is not known. Raises
    `TraceError` where they cannot be read.
    """
    if limits_of(verdict.promise) is None:
        return ""
    if folder is None:
        return f"{_UNKNOWN}: the topic has findings alone; ask the tables"
    stood = next((each for each in _read(folder) if _covers(each, verdict)), None)
    if stood is None or stood.standing == UNKNOWN:
        return f"{_UNKNOWN}: {_LACKING}"
    if stood.standing == SUSPENDED:
        return f"suspended when this was opened: {_told(stood)}. {_NEXT}"
    return ""


def while_suspended(folder: Path, verdicts: Sequence[Verdict]) -> list[str]:
    """Tell of findings among the verdicts that were opened while a promise was suspended."""
    opened = [each for each in verdicts if each.activity == "create" and limits_of(each.promise)]
    lines = []
    for stood in _read(folder) if opened else ():
        count = sum(_covers(stood, each) for each in opened)
        if count and stood.standing == SUSPENDED:
            lines.append(
                f"{printable(stood.model)}: findings opened while the promise of profile "
                f"{stood.profile} was suspended: {count}; {_told(stood)} "
                '(`gamekeeper sql "FROM promises"`)'
            )
    return lines


def _read(folder: Path) -> list[Standing]:
    [answer] = run(connect(folder), "FROM promises")
    return [Standing(*row) for row in answer.rows]


def _covers(stood: Standing, verdict: Verdict) -> bool:
    """Say whether it is of the profile and time of a verdict."""
    time = moment(verdict.last_time)
    within = (stood.begun is None or stood.begun <= time) and (
        stood.ended is None or time < stood.ended
    )
    return within and (stood.model, stood.profile) == (verdict.model, verdict.profile)


def _told(stood: Standing) -> str:
    """Say what a suspension rests on: the lives that speak most against the promise."""
    counts = (stood.theft, stood.variants, stood.other_data, stood.load)
    kinds = [f"{count} {kind}" for kind, count in zip(get_args(Kind), counts, strict=True) if count]
    return (
        f"of {stood.lives} lives of accounts that began since {stood.since:%Y-%m-%d %H:%MZ}, "
        f"{stood.alarmed} alarmed ({', '.join(kinds)}), where {stood.allowed:.2g} are promised "
        "at most"
    )
