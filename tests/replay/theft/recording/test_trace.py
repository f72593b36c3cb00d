"""What the victim saw, as a trace: every query, whose, when, and in which event."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gamekeeper.replay.theft import Answers, Request
from gamekeeper.replay.theft.recording import Naming, Seen, asked, tabulate
from gamekeeper.replay.theft.recording.trace import GAP, OPENING, SECOND
from gamekeeper.schemas.event import decode_event, encode_event
from gamekeeper.schemas.tables import QUERIES, events_from_rows

NAMING = Naming("mallory", "monday", "papernot+split")
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 2, 3), np.uint8)
PROBABILITIES = np.random.default_rng(1).dirichlet(np.ones(4), 12).astype(np.float32)


def seen(first: int, last: int, synthetic: bool, number: int, **options: float) -> Seen:
    """A request of some of the images."""
    rows = slice(first, last)
    request = Request(IMAGES[rows], synthetic, number, **options)
    return Seen(request, Answers(PROBABILITIES[rows].argmax(axis=1), PROBABILITIES[rows]))


SEEN = [
    seen(0, 5, False, 0),
    seen(5, 6, True, 1, account=1, pause=2.0),
    seen(6, 6, True, 1),
    seen(6, 12, True, 2, account=1),
]


def table(rows: int) -> pa.Table:
    """Make the trace of the requests."""
    return tabulate(asked(SEEN, NAMING, rows), "digits")


def test_every_query_is_there_with_what_is_known_of_it() -> None:
    """Images, answers, marks and names are those of the requests, in order."""
    trace = table(4)
    assert trace.schema.equals(QUERIES)
    columns = trace.to_pydict()
    assert b"".join(columns["tensor"]) == IMAGES.tobytes()
    assert columns["dtype"] == ["uint8"] * 12
    assert columns["shape"] == [[2, 3]] * 12
    assert columns["label"] == PROBABILITIES.argmax(axis=1).tolist()
    np.testing.assert_array_equal(columns["probabilities"], PROBABILITIES)
    assert columns["synthetic"] == [False] * 5 + [True] * 7
    assert columns["round"] == [0] * 5 + [1] + [2] * 6
    assert columns["account"] == ["mallory"] * 5 + ["mallory-2"] * 7
    for name, value in {"trace": "monday", "kind": "papernot+split", "model": "digits"}.items():
        assert columns[name] == [value] * 12


def test_queries_are_counted_for_each_account() -> None:
    """The index of a query does not depend on how requests are cut."""
    for rows in (1, 4, 100):
        assert table(rows)["query"].to_pylist() == [*range(5), *range(7)]


def test_requests_are_cut_into_events() -> None:
    """No event is larger than asked for, none spans two requests, all are valid."""
    events = list(events_from_rows(table(4)))
    assert [len(event) for event in events] == [4, 1, 1, 4, 2]
    assert len({event.id for event in events}) == 5
    for event in events:
        assert decode_event(encode_event(event)) == event


def test_time_passes_with_every_query() -> None:
    """A thief waits a little before each image, and as long as he pauses."""
    times = table(1)["time"].cast(pa.int64()).to_numpy()
    waits = np.diff(times, prepend=OPENING) / SECOND
    np.testing.assert_allclose(waits, [GAP] * 5 + [GAP + 2.0] + [GAP] * 6)
    assert table(100)["time"][-1] == table(1)["time"][-1]


def test_many_events_are_made_in_parts() -> None:
    """More events than fit into one batch lose nothing."""
    trace = tabulate(asked([seen(0, 12, True, 1)] * 100, NAMING, 1), "digits")
    assert trace["query"].to_pylist() == list(range(1200))
    assert b"".join(trace["tensor"].to_pylist()) == IMAGES.tobytes() * 100


def test_nothing_sent_is_an_empty_trace() -> None:
    """An attack that ended before its first query has the columns, too."""
    trace = tabulate(asked([], NAMING, 4), "digits")
    assert trace.schema.equals(QUERIES)
    assert not len(trace)
