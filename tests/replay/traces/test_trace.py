"""Traces read back: complete, in order, in bounded blocks, and faults said with the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamekeeper.detectors.engine import Source, Stretch
from gamekeeper.replay.traces import SAMPLE, open_trace, read_trace, trace_files
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables import QUERIES, many_query_rows
from gamekeeper.schemas.tensor import Tensor
from support.traces import events, write_trace


def test_events_come_back_by_time(tmp_path: Path) -> None:
    """A trace gives the events it was made of, in the order of time."""
    made = events()
    read = list(read_trace([write_trace(tmp_path / "a.parquet", made[::2])]))
    assert [each.event for each in read] == made[::2]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1), files=st.integers(1, 4))
def test_rows_in_any_order_and_files(tmp_path: Path, seed: int, files: int) -> None:
    """However rows are shuffled and spread over files, the same events come back."""
    made = events(accounts=2, each=6)
    table = pq.read_table(write_trace(tmp_path / "whole.parquet", made, trace="t"))
    random = np.random.default_rng(seed)
    shuffled = table.take(pa.array(random.permutation(len(table))))
    cuts = np.sort(random.integers(0, len(table) + 1, files - 1))
    parts = []
    for number, (begin, end) in enumerate(
        zip([0, *cuts.tolist()], [*cuts.tolist(), len(table)], strict=True)
    ):
        parts.append(tmp_path / f"part-{number}.parquet")
        pq.write_table(shuffled.slice(begin, end - begin), parts[-1])
    assert [each.event for each in read_trace(parts)] == made


def test_a_life_keeps_its_order_where_clocks_disagree(tmp_path: Path) -> None:
    """An event whose clock was behind is due with the one before it, not earlier."""
    made = events(accounts=2, each=5)
    late = msgspec.structs.replace(made[4], time=made[0].time - 5_000_000)
    made[4] = late
    read = list(read_trace([write_trace(tmp_path / "a.parquet", made)]))
    for account in ("account 0", "account 1"):
        own = [each for each in read if each.event.account == account]
        assert [each.event for each in own] == [each for each in made if each.account == account]
        assert [each.first for each in own] == np.cumsum(
            [0, *(len(each.event) for each in own[:-1])]
        ).tolist()
    assert [each.due for each in read] == sorted(each.due for each in read)
    assert next(each.due for each in read if each.event == late) == made[2].time


def test_events_larger_than_a_block(tmp_path: Path) -> None:
    """Events of more rows than are put together at once come back whole."""
    random = np.random.default_rng(1)
    made = [
        QueryEvent(
            id=str(number),
            account="a",
            model="m",
            time=number,
            inputs=Tensor.from_array(random.normal(size=(rows, 4))),
            labels=[0] * rows,
        )
        for number, rows in enumerate((1, 700, 3, 300, 255, 257))
    ]
    read = list(read_trace([write_trace(tmp_path / "a.parquet", made)]))
    assert [each.event for each in read] == made


def test_truth_columns(tmp_path: Path) -> None:
    """Trace, kind, and what is known of each query come with the event."""
    [event] = events(accounts=1, each=1)
    event = msgspec.structs.replace(
        event,
        inputs=Tensor.from_array(np.zeros((2, 3), np.uint8)),
        labels=[1, 2],
        probabilities=None,
    )
    rows = many_query_rows(
        [event], [0], trace="t", kind="papernot", synthetic=[False, True], round=[0, 3]
    )
    pq.write_table(pa.Table.from_batches([rows]), tmp_path / "a.parquet")
    [read] = read_trace([tmp_path / "a.parquet"])
    assert read == (event, 0, "t", "papernot", [False, True], [0, 3], event.time)


def test_a_trace_without_names_is_called_by_its_path(tmp_path: Path) -> None:
    """Rows that name no trace belong to one called like the file or the folder."""
    (tmp_path / "march").mkdir()
    write_trace(tmp_path / "march" / "x.parquet", events(accounts=1, each=2))
    write_trace(tmp_path / "april.parquet", events(accounts=1, each=2))
    with open_trace([tmp_path / "march", tmp_path / "april.parquet"]) as store:
        assert [life.trace for life in store.lives] == ["april", "march"]
        assert [life.kind for life in store.lives] == [None, None]
        read = list(store.events())
    for trace in ("april", "march"):
        own = [each.event for each in read if each.trace == trace]
        assert own == events(accounts=1, each=2)


def test_columns_that_may_be_null_may_be_missing(tmp_path: Path) -> None:
    """A trace without the optional columns, and with wider types than ours, is read."""
    made = events(accounts=1, each=3)
    table = pq.read_table(write_trace(tmp_path / "a.parquet", made))
    table = table.drop_columns(["trace", "kind", "synthetic", "round", "embedding"])
    label = table.column_names.index("label")
    table = table.set_column(label, "label", table["label"].cast(pa.int64()))
    pq.write_table(table.append_column("colour", table["label"]), tmp_path / "b.parquet")
    assert [each.event for each in read_trace([tmp_path / "b.parquet"])] == made


def test_the_shipped_trace() -> None:
    """The word `sample` is the shipped trace, which has benign accounts and attacks."""
    assert {each.path.parent for each in trace_files(["sample"])} == {SAMPLE}
    with open_trace(["sample"]) as store:
        kinds = {life.kind for life in store.lives}
        assert "benign" in kinds
        assert len(kinds) > 5
        assert sum(len(each.event) for each in store.events()) == len(store)


def test_a_data_folder_stands_for_its_queries(tmp_path: Path) -> None:
    """Of a folder with tables, the queries are the trace; partition folders are looked into."""
    inner = tmp_path / "queries" / "date=2026-05-01"
    inner.mkdir(parents=True)
    (tmp_path / "scores").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "scores" / "part-00000.parquet")
    write_trace(inner / "a.parquet", events(accounts=1, each=2))
    assert len(list(read_trace([tmp_path]))) == 2


Change = Callable[[pa.Table], pa.Table]


def replaced(name: str, change: Callable[[list[Any]], list[Any]], kind: Any = None) -> Change:
    """Change one column's values."""

    def apply(table: pa.Table) -> pa.Table:
        values = pa.array(change(table[name].to_pylist()), kind or QUERIES.field(name).type)
        return table.set_column(table.column_names.index(name), name, values)

    return apply


FAULTS: dict[str, tuple[Change, str]] = {
    "no column": (lambda table: table.drop_columns(["label"]), "no column label"),
    "null": (replaced("dtype", lambda x: [*x[:2], None, *x[3:]]), "row 2: dtype is null"),
    "wrong type": (
        replaced("label", lambda x: ["cat"] * len(x), pa.string()),
        "column label is string, not int32",
    ),
    "gap": (lambda table: table.slice(1), "query 1 is there twice, or an earlier one is missing"),
    "twice": (lambda table: pa.concat_tables([table, table]), "there twice"),
    "two kinds": (
        replaced("kind", lambda x: ["benign", *["papernot"] * (len(x) - 1)]),
        "give each kind a trace of its own",
    ),
    "short tensor": (
        replaced("tensor", lambda x: [*x[:3], x[3][:-1], *x[4:]]),
        r"row 3: .*tensor|row 3: .*bytes",
    ),
    "row numbers": (replaced("row", lambda x: [*x[:1], 5, *x[2:]]), "row 1: .*numbered"),
    "no rows": (lambda table: table.slice(0, 0), "holds no query"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_said_with_the_file(tmp_path: Path, fault: str) -> None:
    """A faulty trace ends in a `TraceError` that names the file and what is wrong in it."""
    change, message = FAULTS[fault]
    good = write_trace(tmp_path / "good.parquet", events(accounts=2, each=2), trace="good")
    table = pq.read_table(write_trace(tmp_path / "bad.parquet", events(accounts=1, each=6)))
    pq.write_table(change(table), tmp_path / "bad.parquet")
    paths = [tmp_path / "bad.parquet"] if fault == "no rows" else [good, tmp_path / "bad.parquet"]
    for read in (read_trace, read_arrays):
        with pytest.raises(TraceError, match=message) as caught:
            list(read(paths))
        assert str(tmp_path / "bad.parquet") in str(caught.value)


def read_arrays(paths: list[Path], size: int = 5) -> list[Stretch]:
    """Read traces life by life, as arrays."""
    with open_trace(paths) as store:
        return [each for life in store.lives for each in store.stretches(life, size)]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_arrays_are_those_of_the_events(tmp_path: Path, size: int) -> None:
    """Whatever the size of the stretches, a life's arrays and sources are its events', in order."""
    made = events(accounts=2, each=20)
    path = write_trace(tmp_path / "a.parquet", made, trace="t")
    for account in ("account 0", "account 1"):
        own = [event for event in made if event.account == account]
        stretches = [each for each in read_arrays([path], size) if each.key[0] == account]
        batches = [each.batch for each in stretches]
        assert [batch.first for batch in batches] == np.cumsum([0, *map(len, batches)])[
            :-1
        ].tolist()
        inputs = np.concatenate([batch.inputs for batch in batches])
        np.testing.assert_array_equal(inputs, np.concatenate([e.inputs.array() for e in own]))
        labels = [label for batch in batches for label in batch.labels.tolist()]
        assert labels == [label for event in own for label in event.labels]
        times = [time for batch in batches for time in batch.times.tolist()]
        assert times == [event.time for event in own for _ in event.labels]
        sources = [source for each in stretches for source in each.sources]
        assert sources == [Source("t", 0, number) for number in range(len(own))]
        sizes = [size for each in stretches for size in np.diff(each.starts).tolist()]
        assert sizes == [len(event) for event in own]
        assert all(len(batch) <= max(size, 3) for batch in batches)


def test_what_is_no_trace(tmp_path: Path) -> None:
    """A missing path, an empty folder and a file that is not Parquet are named."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("hello")
    np.savez(tmp_path / "set.npz", x=np.zeros(3))
    pq.write_table(pa.table({"x": [1]}), tmp_path / "table.parquet")
    for name, message in {
        "missing": "no such trace",
        "empty": "no .parquet file",
        "text.parquet": "cannot be read as a trace.*traces come from `gamekeeper record`",
        "set.npz": "cannot be read as a trace.*traces come from `gamekeeper record`",
        "table.parquet": "not a trace: no column account.*traces come from `gamekeeper record`",
    }.items():
        with pytest.raises(TraceError, match=message) as caught:
            list(read_trace([tmp_path / name]))
        assert str(tmp_path / name) in str(caught.value)
