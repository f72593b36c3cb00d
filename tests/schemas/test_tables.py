"""The three tables: columns as documented, rows that come back as events, whole Parquet files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.event import Limits, QueryEvent
from gamekeeper.schemas.tables import (
    QUERIES,
    SCORES,
    VERDICTS,
    events_from_rows,
    many_query_rows,
    score_rows,
    verdict_rows,
    write_parquet,
)
from gamekeeper.schemas.tensor import DTYPES, Tensor
from gamekeeper.schemas.verdict import Verdict

MakeEvent = Callable[..., QueryEvent]
MakeVerdict = Callable[..., Verdict]


def obvious_rows(event: QueryEvent, first: int, **labels: Any) -> list[dict[str, Any]]:
    """Write an event's rows out one by one, as DESIGN describes the columns."""

    def lists(tensor: Tensor | None, row: int) -> list[float] | None:
        return None if tensor is None else tensor.array()[row].astype(np.float32).tolist()

    return [
        {
            "account": event.account,
            "model": event.model,
            "query": first + row,
            "time": event.time,
            "event": event.id,
            "row": row,
            "tensor": event.inputs.array()[row].tobytes(),
            "dtype": event.inputs.dtype,
            "shape": list(event.inputs.shape[1:]),
            "label": event.labels[row],
            "probabilities": lists(event.probabilities, row),
            "embedding": lists(event.embedding, row),
            "trace": None,
            "kind": None,
            "synthetic": None,
            "round": None,
            **labels,
        }
        for row in range(len(event))
    ]


def as_rows(batch: pa.RecordBatch | pa.Table) -> list[dict[str, Any]]:
    """Turn a batch into dictionaries, with times as microseconds."""
    batch.validate(full=True)
    micros = batch.column("time").cast(pa.int64())
    return [
        {**row, "time": time}
        for row, time in zip(batch.to_pylist(), micros.to_pylist(), strict=True)
    ]


@st.composite
def traffic(draw: st.DrawFn, make_event: MakeEvent) -> list[tuple[QueryEvent, int]]:
    """Draw events of one account in order, with the index of each one's first query."""
    first = draw(st.integers(0, 5))
    events = []
    for number in range(draw(st.integers(1, 5))):
        rows = draw(st.integers(1, 4))
        name = draw(st.sampled_from(sorted(DTYPES)))
        shape = draw(st.sampled_from([(), (3,), (2, 2)]))
        inputs = np.arange(rows * int(np.prod(shape))).reshape(rows, *shape) % 2
        units = Tensor.from_array(np.full((rows, 4), 0.25, np.float32))
        features = Tensor.from_array(np.ones((rows, draw(st.integers(1, 3))), np.float32))
        event = make_event(
            rows,
            id=f"request-{number}",
            inputs=Tensor.from_array(inputs.astype(name)),
            probabilities=draw(st.sampled_from([None, units])),
            embedding=draw(st.sampled_from([None, features])),
        )
        events.append((event, first))
        first += rows
    return events


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_rows_are_the_obvious_ones_and_come_back(make_event: MakeEvent, data: Any) -> None:
    """Any events give the rows written out by hand, and the same events again in any chunks."""
    pairs = data.draw(traffic(make_event))
    events = [event for event, _ in pairs]
    batch = many_query_rows(events, [first for _, first in pairs], trace="t", kind="benign")
    assert batch.schema == QUERIES
    expected = [
        row
        for event, first in pairs
        for row in obvious_rows(event, first, trace="t", kind="benign")
    ]
    assert as_rows(batch) == expected
    table = pa.Table.from_batches([batch])
    assert list(events_from_rows(table)) == events
    chunks = table.to_batches(max_chunksize=data.draw(st.integers(1, 4)))
    assert list(events_from_rows(iter(chunks))) == events


def test_recorded_traces_carry_their_labels(make_event: MakeEvent) -> None:
    """`synthetic` and `round` may be one value for the event, or one per query."""
    event = make_event(rows=3)
    batch = many_query_rows(
        [event], [7], trace="t", kind="papernot", synthetic=True, round=[0, 1, 1]
    )
    expected = obvious_rows(event, 7, trace="t", kind="papernot", synthetic=True)
    assert as_rows(batch) == [
        {**row, "round": number} for row, number in zip(expected, [0, 1, 1], strict=True)
    ]


def test_no_events_give_no_rows() -> None:
    """An empty batch has the columns, and no events come out of it."""
    batch = many_query_rows([], [])
    assert batch.schema == QUERIES
    assert batch.num_rows == 0
    assert list(events_from_rows([batch])) == []


def test_columns_that_may_be_null_may_be_absent(make_event: MakeEvent) -> None:
    """A trace made elsewhere needs ten columns, in any order, with any kind of string."""
    table = pa.Table.from_batches([many_query_rows([make_event()], [0])])
    ten = [field.name for field in QUERIES if not field.nullable][::-1]
    assert len(ten) == 10
    other = table.select(ten)
    other = other.set_column(
        other.column_names.index("account"),
        "account",
        table["account"].cast(pa.large_string()).dictionary_encode(),
    )
    assert list(events_from_rows(other)) == [make_event()]


def test_the_same_id_twice_is_two_events(make_event: MakeEvent) -> None:
    """A row number of 0 begins a new event, even under the id, account and model of the last."""
    event = make_event(rows=1)
    assert list(events_from_rows([many_query_rows([event, event], [0, 1])])) == [event, event]


def changed(batch: pa.RecordBatch, name: str, row: int, value: Any) -> pa.Table:
    """Replace one value of a batch."""
    rows = batch.to_pylist()
    rows[row][name] = value
    loose = pa.schema([field.with_nullable(True) for field in QUERIES])
    return pa.Table.from_pylist(rows, schema=loose)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("row", 5, "row 3, event 'b': its rows are not numbered"),
        ("query", 9, "not consecutive"),
        ("time", 5, "differ in column 'time'"),
        ("dtype", "int32", "differ in column 'dtype'"),
        ("dtype", None, "row 4: 'dtype' is null"),
        ("shape", [4, 1], "differ in column 'shape'"),
        ("shape", [4], "differ in length in column 'shape'"),
        ("shape", None, "row 4: 'shape' is null"),
        ("tensor", b"abc", "differ in length in column 'tensor'"),
        ("tensor", np.full(4, np.nan, np.float32).tobytes(), r"\$\.inputs\.data"),
        ("label", -1, r"\$\.labels\[1\]"),
        ("probabilities", [0.5, 0.5], "'probabilities'"),
        ("account", "bob", "row 4, event 'b': its rows are not numbered"),
    ],
)
def test_faults_are_named_by_row(make_event: MakeEvent, name: str, value: Any, match: str) -> None:
    """A broken row raises with its number over all batches, after the events before it."""
    batch = many_query_rows([make_event(3, id="a"), make_event(2, id="b")], [0, 3])
    table = changed(batch, name, 4, value)
    for chunk in (1, 2, 5):
        with pytest.raises(TraceError, match=match):
            list(events_from_rows(table.to_batches(max_chunksize=chunk)))


def test_columns_of_another_kind_are_refused(make_event: MakeEvent) -> None:
    """A missing or mistyped column is named."""
    table = pa.Table.from_batches([many_query_rows([make_event()], [0])])
    with pytest.raises(TraceError, match="'tensor'"):
        list(events_from_rows(table.drop_columns(["tensor"])))
    position = table.column_names.index("query")
    text = table.set_column(position, "query", table["account"])
    with pytest.raises(TraceError, match="'query'"):
        list(events_from_rows(text))


def test_an_event_without_end_is_refused(make_event: MakeEvent) -> None:
    """Rows that count on and on are not collected beyond the limit."""
    batch = many_query_rows([make_event(rows=9)], [0])
    with pytest.raises(TraceError, match="more than 4"):
        list(events_from_rows([batch], Limits(max_rows=4)))


def test_score_rows() -> None:
    """Statistics of several detectors are stacked; NaN is null."""
    statistics = {"prada": np.array([np.nan, 0.5]), "prada-v1": np.array([1.0, 2.0])}
    batch = score_rows("ada", "digits", 4, [10, 20], statistics, trace="t", kind="benign")
    assert batch.schema == SCORES
    common = {"trace": "t", "kind": "benign", "account": "ada", "model": "digits"}
    assert as_rows(batch) == [
        {**common, "query": query, "time": time, "detector": detector, "statistic": statistic}
        for detector, query, time, statistic in [
            ("prada", 4, 10, None),
            ("prada", 5, 20, 0.5),
            ("prada-v1", 4, 10, 1.0),
            ("prada-v1", 5, 20, 2.0),
        ]
    ]
    assert score_rows("ada", "digits", 0, 0, {}).num_rows == 0
    assert score_rows("ada", "digits", 4, 10, statistics).column("time").unique().to_pylist()


PACKED = {"agreeing", "evidence", "promise", "first_time", "last_time"}


def test_verdict_rows(make_verdict: MakeVerdict) -> None:
    """A row holds the verdict's fields, nested ones as JSON, and where the verdict lies."""
    verdicts = [
        make_verdict(evidence={"b": float("nan"), "a": [1]}),
        make_verdict(id="w", agreeing=("prada",)),
    ]
    batch = verdict_rows(verdicts, [("gamekeeper.verdicts", 1, 7), None])
    assert batch.schema == VERDICTS
    batch.validate(full=True)
    first, second = batch.to_pylist()
    assert first["evidence"] == '{"a":[1],"b":null}'
    assert json.loads(first["promise"]) == {"alpha": 0.01}
    assert (first["_topic"], first["_partition"], first["_offset"]) == ("gamekeeper.verdicts", 1, 7)
    assert (second["_topic"], second["_partition"], second["_offset"]) == (None, None, None)
    assert batch.column("last_time").cast(pa.int64()).to_pylist() == [verdicts[0].last_time] * 2
    assert (first["agreeing"], second["agreeing"]) == ([], ["prada"])
    for name in set(Verdict.__struct_fields__) - PACKED:
        assert second[name] == getattr(verdicts[1], name)
    assert verdict_rows(verdicts).column("_topic").null_count == 2
    assert verdict_rows([]).num_rows == 0


def test_parquet_round_trip(tmp_path: Path, make_event: MakeEvent) -> None:
    """A written table comes back with the same columns and values, in a folder made for it."""
    table = pa.Table.from_batches(
        [many_query_rows([make_event()], [0], kind="benign", synthetic=False)]
    )
    path = tmp_path / "date=2026-01-01" / "part.parquet"
    write_parquet(table, path)
    back = pq.ParquetFile(path).read()
    assert back.schema == QUERIES
    assert back == table
    assert [entry.name for entry in path.parent.iterdir()] == ["part.parquet"]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path, make_event: MakeEvent) -> None:
    """Neither chunks nor the moment nor an older file change what is written."""
    events = [make_event(rows=1 + number % 3, id=f"r{number}") for number in range(40)]
    firsts = np.cumsum([0, *map(len, events)])[:-1].tolist()
    table = pa.Table.from_batches([many_query_rows(events, firsts)])
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    two.write_bytes(b"an older file")
    write_parquet(table, one)
    write_parquet(pa.Table.from_batches(table.to_batches(max_chunksize=3)), two)
    assert one.read_bytes() == two.read_bytes()
    write_parquet(table.slice(3).to_batches()[0], one)
    write_parquet(many_query_rows(events, firsts).slice(3), two)
    assert one.read_bytes() == two.read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, make_event: MakeEvent) -> None:
    """What cannot be written raises, and leaves neither half a file nor a temporary one."""
    path = tmp_path / "part.parquet"
    write_parquet(many_query_rows([make_event()], [0]), path)
    before = path.read_bytes()
    unwritable = pa.table(
        {
            "x": pa.array([None]),
            "y": pa.UnionArray.from_dense(
                pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]
            ),
        }
    )
    with pytest.raises(TraceError, match=r"part\.parquet"):
        write_parquet(unwritable, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["part.parquet"]
    (tmp_path / "file").touch()
    with pytest.raises(TraceError, match="cannot be written"):
        write_parquet(many_query_rows([make_event()], [0]), tmp_path / "file" / "part.parquet")


def test_large_tensors_are_cut_into_row_groups(tmp_path: Path, make_event: MakeEvent) -> None:
    """A reader of one row group needs about 64 MiB, however large the rows are."""
    inputs = Tensor.from_array(np.zeros((6, 5 * 2**20), np.uint32))
    path = tmp_path / "large.parquet"
    write_parquet(many_query_rows([make_event(rows=6, inputs=inputs)], [0]), path)
    assert pq.ParquetFile(path).num_row_groups == 2
