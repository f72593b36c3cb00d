"""Arrays of rows are what the events of these rows hold, and are refused for the same reasons."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.event import Limits, QueryEvent
from gamekeeper.schemas.tables import (
    QUERIES,
    Arrays,
    arrays_from_rows,
    events_from_rows,
    many_query_rows,
)
from gamekeeper.schemas.tensor import Tensor

KINDS: list[tuple[str, tuple[int, ...]]] = [
    ("uint8", (3,)),
    ("uint8", (2, 3)),
    ("uint8", (3, 2)),
    ("float64", (3,)),
    ("bool", (2,)),
]


@st.composite
def events(draw: st.DrawFn) -> QueryEvent:
    """Draw an event of one account, with or without probabilities and an embedding."""
    dtype, shape = draw(st.sampled_from(KINDS))
    rows = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    classes = draw(st.sampled_from([0, 2, 3]))
    width = draw(st.sampled_from([0, 0, 4]))
    return QueryEvent(
        id=draw(st.sampled_from("abc")),
        account="ada",
        model="digits",
        time=draw(st.integers(0, 5)),
        inputs=Tensor.from_array(rng.integers(0, 2, (rows, *shape)).astype(dtype)),
        labels=rng.integers(0, 9, rows).tolist(),
        probabilities=Tensor.from_array(rng.random((rows, classes), np.float32))
        if classes
        else None,
        embedding=Tensor.from_array(rng.normal(size=(rows, width)).astype(np.float32))
        if width
        else None,
    )


def table_of(made: list[QueryEvent]) -> pa.Table:
    """Make the rows of events that follow one another."""
    firsts = np.cumsum([0, *map(len, made)])[:-1].tolist()
    return pa.Table.from_batches([many_query_rows(made, firsts)], schema=QUERIES)


def array(tensor: Tensor | None) -> Any:
    """Give a tensor's array, as nested lists."""
    return None if tensor is None else tensor.array().tolist()


def cut(runs: list[Arrays]) -> list[tuple[Any, ...]]:
    """Say what arrays hold, event by event."""
    found = []
    for run in runs:
        for start, stop in zip(run.starts[:-1], run.starts[1:], strict=True):
            own = slice(start, stop)
            found.append(
                (
                    set(run.times[own].tolist()),
                    run.inputs.dtype,
                    run.inputs[own].tolist(),
                    run.labels[own].tolist(),
                    None if run.probabilities is None else run.probabilities[own].tolist(),
                    None if run.embedding is None else run.embedding[own].tolist(),
                )
            )
    return found


def said(event: QueryEvent) -> tuple[Any, ...]:
    """Say the same of an event."""
    return (
        {event.time},
        event.inputs.array().dtype,
        array(event.inputs),
        event.labels,
        array(event.probabilities),
        array(event.embedding),
    )


@given(st.lists(events(), min_size=1, max_size=6))
def test_arrays_hold_what_the_events_hold(made: list[QueryEvent]) -> None:
    """Whatever kinds of rows follow one another, nothing is lost, changed or moved."""
    assert cut(arrays_from_rows(table_of(made))) == [said(event) for event in made]


@given(st.lists(events(), min_size=1, max_size=6))
def test_a_run_ends_only_where_rows_are_of_another_kind(made: list[QueryEvent]) -> None:
    """Events that follow one another and are alike are in one run."""

    def kind(event: QueryEvent) -> tuple[Any, ...]:
        tensors = (event.probabilities, event.embedding)
        widths = [None if each is None else each.shape[1] for each in tensors]
        return event.inputs.dtype, event.inputs.shape[1:], *widths

    kinds = [kind(event) for event in made]
    changes = sum(one != other for one, other in pairwise(kinds))
    assert len(arrays_from_rows(table_of(made))) == 1 + changes


BROKEN: dict[str, list[Any]] = {
    "row": [0, 5],
    "query": [0, 9],
    "time": [-1, 5, 40_000_000_000_000_000],
    "event": ["", "z", "x" * 300, "a\0b"],
    "account": ["x" * 300],
    "dtype": ["int32", "complex64", "float16"],
    "shape": [[4, 1], [3], [0], [1] * 9, [], [3, None]],
    "tensor": [b"", b"abc", b"\2\2", np.full(3, np.nan).tobytes()],
    "label": [-1, 2**31 - 1],
    "probabilities": [None, [0.5], [np.nan, 0.5], [0.5, 1.5], [0.5, None], []],
    "embedding": [None, [0.5], [np.inf] * 4, []],
}


def outcome(table: pa.Table, limits: Limits) -> tuple[Any, Any]:
    """Give what both ways make of a table: the same things, or the same fault."""
    results: list[Any] = []
    for way in (
        lambda: [said(event) for event in events_from_rows(table, limits)],
        lambda: cut(arrays_from_rows(table, limits)),
    ):
        try:
            results.append(way())
        except TraceError as error:
            results.append(str(error))
    return results[0], results[1]


@settings(max_examples=300)
@given(st.lists(events(), min_size=1, max_size=4), st.data())
def test_faults_are_the_same(made: list[QueryEvent], data: st.DataObject) -> None:
    """A value that breaks a rule has both refuse the rows in the same words; others neither."""
    rows = table_of(made).to_pylist()
    place = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(sorted(BROKEN)))
    rows[place][name] = data.draw(st.sampled_from(BROKEN[name]))
    one, other = outcome(pa.Table.from_pylist(rows, schema=QUERIES), Limits())
    assert one == other


@pytest.mark.parametrize(
    "limits",
    [Limits(max_bytes=100), Limits(max_bytes=230), Limits(max_rows=2), Limits(max_dims=2)],
)
def test_limits_are_the_same(limits: Limits) -> None:
    """Events that are too large, in doubt or small enough are told apart as events are."""
    event = QueryEvent(
        id="a",
        account="ada",
        model="digits",
        time=1,
        inputs=Tensor.from_array(np.zeros((3, 5, 6), np.uint8)),
        labels=[1, 2, 3],
    )
    small = msgspec.structs.replace(
        event, inputs=Tensor.from_array(np.zeros((1, 5), np.uint8)), labels=[1]
    )
    one, other = outcome(table_of([small, event, small]), limits)
    assert one == other


def test_no_rows_are_no_arrays() -> None:
    """An empty table has no run."""
    assert arrays_from_rows(table_of([])) == []
