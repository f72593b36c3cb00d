"""The sink behind producers that use transactions: what is aborted does not count, nor lag."""

from __future__ import annotations

from pathlib import Path

import pytest

from gamekeeper.schemas.event import encode_event
from gamekeeper.stream.kafka import EmbeddedBroker, Settings
from gamekeeper.stream.sink.files import group_of
from support import brokers
from support.sink_traffic import Sent, query, tables
from support.sinks import running
from support.transactions import lag, send_in_transactions
from support.workers import wait_for

pytestmark = pytest.mark.broker


def events(settings: Settings, numbers: range) -> list[Sent]:
    """Make one-query events, each of an account of its own."""
    return [
        Sent(settings.topics.queries, f"a-{number}", encode_event(query(number, f"a-{number}", 1)))
        for number in numbers
    ]


def written(folder: Path) -> set[int]:
    """Name the events in the table of queries."""
    rows = tables(folder)["queries"]
    assert len({row["event"] for row in rows}) == len(rows)
    return {int(row["event"].removeprefix("event-")) for row in rows}


def test_aborted_transactions_are_not_written(
    settings: Settings, broker: brokers.Broker, tmp_path: Path
) -> None:
    """Committed transactions are rows, aborted ones are not, and the group's lag ends at 0."""
    topic, group = settings.topics.queries, group_of(tmp_path, settings.app_id)
    kept = {*range(20), *range(30, 40)}
    if isinstance(broker, EmbeddedBroker):
        kept = set(range(45))  # it does not say which transactions were aborted
    parts = [(range(20), True), (range(20, 30), False), (range(30, 40), True), (range(40, 45), 0)]
    with running(settings, tmp_path, "queries"):
        send_in_transactions(
            settings, [(events(settings, numbers), bool(end)) for numbers, end in parts]
        )
        wait_for(lambda: lag(settings, group, topic) == 0)
        assert written(tmp_path) == kept


def test_what_is_no_record_is_committed(
    settings: Settings, broker: brokers.Broker, tmp_path: Path
) -> None:
    """What follows the last record and is none leaves no lag, and makes no file."""
    topic, group = settings.topics.queries, group_of(tmp_path, settings.app_id)
    with running(settings, tmp_path, "queries"):
        send_in_transactions(settings, [(events(settings, range(9)), True)])
        wait_for(lambda: lag(settings, group, topic) == 0)
        before = set(tmp_path.rglob("*.parquet"))
        send_in_transactions(settings, [([], True), (events(settings, range(9, 12)), False)])
        wait_for(lambda: lag(settings, group, topic) == 0)
        assert written(tmp_path) >= set(range(9))
        if not isinstance(broker, EmbeddedBroker):  # it gives aborted records like others
            assert before == set(tmp_path.rglob("*.parquet"))
    # A later run begins behind the markers.
    with running(settings, tmp_path, "queries"):
        send_in_transactions(settings, [(events(settings, range(12, 14)), True)])
        wait_for(lambda: {12, 13} <= written(tmp_path))
