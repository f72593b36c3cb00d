"""Verdicts of a disturbed run against those of an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gamekeeper.replay.tables import connect
from gamekeeper.replay.tables import run as sql
from gamekeeper.replay.tables.verdicts import from_tables
from gamekeeper.schemas.verdict import decode_verdict, encode_verdict
from gamekeeper.stream.kafka import Settings
from support.workers import read


class Comparison(msgspec.Struct):
    """Verdicts of the disturbed run against those of the undisturbed one."""

    expected: int
    missing: int
    differing: int
    unknown: int
    repeated: int

    @property
    def same(self) -> bool:
        """Whether these are the same verdicts, however often each is there."""
        faults = self.missing, self.differing, self.unknown
        return bool(self.expected) and not any(faults)


def compare(expected: list[tuple[str, bytes]], actual: list[tuple[str, bytes]]) -> Comparison:
    """Compare verdicts given as (id, encoded)."""
    truth = dict(expected)
    ids = {each for each, _ in actual}
    return Comparison(
        expected=len(truth),
        missing=len(truth.keys() - ids),
        differing=sum(each in truth and truth[each] != value for each, value in actual),
        unknown=len(ids - truth.keys()),
        repeated=len(actual) - len(ids),
    )


def on_topic(settings: Settings) -> list[tuple[str, bytes]]:
    """Read every record of the verdicts topic as (id, encoded verdict)."""
    records = read(settings, settings.topics.verdicts)
    return [(decode_verdict(record.value).id, record.value) for record in records]


def written(tables: Path) -> list[tuple[str, bytes]]:
    """Read every row of the sink's table as (id, encoded verdict); doubles would be there twice."""
    [answer] = sql(connect(tables), "SELECT id FROM verdicts")
    # Read after the ids: the sink may have written more in between, never less.
    truth = {verdict.id: encode_verdict(verdict) for verdict in from_tables(tables)}
    return [(uid, truth[uid]) for (uid,) in answer.rows]
