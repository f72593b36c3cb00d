"""Recording: what is counted, what is left out, and when it ends."""

from __future__ import annotations

import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gamekeeper.replay.traces import Wanted, record
from gamekeeper.schemas.errors import BrokerError, TraceError
from gamekeeper.schemas.event import encode_event
from gamekeeper.schemas.order import CloseOrder, ProfileOrder, encode_order
from gamekeeper.stream.kafka import Settings
from support.processes import spawned
from support.traces import events, send, sorted_rows, write_trace

pytestmark = pytest.mark.broker
TELLING = """
import importlib, sys
recording = importlib.import_module("gamekeeper.replay.traces.record")._Recording
take = recording._take
def telling(self, record):
    take(self, record)
    print("taken:", self._recorded.events, file=sys.stderr, flush=True)
recording._take = telling
"""


def test_invalid_events_are_counted_and_named(settings: Settings, tmp_path: Path) -> None:
    """What the service refuses is left out, with its offset and fault; queries still count on."""
    made = events(accounts=1, each=4)
    under_another_key = encode_event(made[0])
    mixed = [made[0], b"junk", made[1], b"", under_another_key, made[2], b"\xc1", made[3]]
    send(settings, settings.topics.queries, *mixed)
    said: list[str] = []
    out = tmp_path / "a.parquet"
    wanted = Wanted(queries=sum(map(len, made)))
    recorded = record(
        settings, settings.topics.queries, out, wanted, skipped=said.append, trace="t"
    )
    assert recorded.invalid == 4
    assert recorded.events == 4
    assert sum("not a query event" in line and "offset" in line for line in said) == 4
    assert sum("is not the record's key" in line for line in said) == 1
    expected = write_trace(tmp_path / "b.parquet", made, trace="t")
    columns = ["account", "query", "event", "row", "tensor", "label", "trace"]
    assert sorted_rows(out).select(columns).equals(sorted_rows(expected).select(columns))


def test_orders_are_no_queries_of_a_trace(settings: Settings, tmp_path: Path) -> None:
    """Orders lie among the queries, and are neither recorded nor reported."""
    first, second = events(accounts=1, each=2)
    order = ProfileOrder(app="gamekeeper", profile="0123456789abcdef", time=1)
    close = CloseOrder(account=first.account, model=first.model, finding="f", time=1)
    send(
        settings,
        settings.topics.queries,
        *[first, encode_order(order), encode_order(close), second],
    )
    said: list[str] = []
    wanted = Wanted(until_idle=1.5)
    recorded = record(
        settings, settings.topics.queries, tmp_path / "a.parquet", wanted, skipped=said.append
    )
    assert (recorded.events, recorded.invalid, said) == (2, 0, [])


def test_accounts_and_kind(settings: Settings, tmp_path: Path) -> None:
    """Only the named accounts are recorded, as the named kind and trace."""
    send(settings, settings.topics.queries, *events(accounts=3, each=5))
    out = tmp_path / "a.parquet"
    wanted = Wanted(until_idle=1.5, accounts=["account 1"])
    record(settings, settings.topics.queries, out, wanted, trace="may", kind="papernot")
    rows = pq.read_table(out)
    assert set(rows["account"].to_pylist()) == {"account 1"}
    assert set(rows["trace"].to_pylist()) == {"may"}
    assert set(rows["kind"].to_pylist()) == {"papernot"}
    assert rows["query"].to_pylist() == list(range(len(rows)))


def test_from_now_leaves_out_what_was_there(settings: Settings, tmp_path: Path) -> None:
    """A recording from now on, of a topic where nothing comes any more, has nothing to write."""
    send(settings, settings.topics.queries, *events(accounts=1, each=3))
    out = tmp_path / "a.parquet"
    with pytest.raises(TraceError, match="no query came"):
        record(settings, settings.topics.queries, out, Wanted(start="now", seconds=0.5))
    assert list(tmp_path.iterdir()) == []


def test_a_trace_is_never_overwritten(settings: Settings, tmp_path: Path) -> None:
    """An existing file is refused and stays as it is."""
    out = tmp_path / "a.parquet"
    out.write_text("precious")
    with pytest.raises(TraceError, match="exists already"):
        record(settings, settings.topics.queries, out, Wanted(seconds=0.1))
    assert out.read_text() == "precious"


def test_topic_that_is_not_there(settings: Settings, tmp_path: Path) -> None:
    """A topic that does not exist is an error that says how to create it."""
    with pytest.raises(BrokerError, match="gamekeeper topics apply"):
        record(settings, "missing-topic", tmp_path / "a.parquet", Wanted(seconds=0.1))


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_recording_is_a_whole_trace(
    settings: Settings, environ: dict[str, str], tmp_path: Path, sign: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM end a recording; what came until then is in the file."""
    made = events(accounts=2, each=3)
    send(settings, settings.topics.queries, *made)
    out = tmp_path / "a.parquet"
    with spawned("record", "--out", out, environ=environ, before=TELLING) as process:
        assert process.stderr is not None
        assert "until Ctrl-C" in process.stderr.readline()
        while "taken: 6" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(sign)
        stdout, stderr = process.communicate(timeout=180)
    assert process.returncode == 0, stderr
    assert f"{sum(map(len, made))} queries in 6 events of 2 accounts" in stdout
    assert sorted_rows(out).equals(sorted_rows(write_trace(tmp_path / "b.parquet", made)))
