"""Queries that were sent before are left out where a detector says so, in any batching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.detectors.base import Batch, Segment
from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import (
    Account,
    Arrival,
    DetectorProfile,
    Engine,
    Policy,
    Profile,
    Source,
    resolve,
)
from gamekeeper.detectors.engine.repeats import NAME, Repeats
from gamekeeper.detectors.paging import PAGE
from gamekeeper.schemas.errors import StateError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import encode_verdict
from support.toys import Echo

CAPACITY = 5
KEY = ("ada", "digits")
letters = st.lists(st.integers(0, 9), min_size=1, max_size=60)
cuts = st.lists(st.integers(1, 59), max_size=6).map(lambda at: sorted({0, *at, 60}))


class Distinct(Echo):
    """The toy, given no query twice."""

    name = "distinct"
    distinct = CAPACITY


class Doubled(Distinct):
    """Another one, whose alarms are elsewhere."""

    name = "doubled"
    column = 1


@pytest.fixture(autouse=True, scope="module")
def toys() -> Iterable[None]:
    """Let profiles name the toys."""
    made = {each.name: each for each in (Echo, Distinct, Doubled)}
    DETECTORS.update(made)
    yield
    for name in made:
        del DETECTORS[name]


def profile(*names: str, mode: str = "latch") -> Profile:
    """Make a profile of toys and a detector with logs."""
    detectors = [DetectorProfile(detector=name, options={"warm": 0}) for name in names]
    policy = Policy(mode=mode)  # type: ignore[arg-type]
    return resolve(Profile(name="toys", detectors=tuple(detectors), policy=policy))


def arrivals(rows: Sequence[Sequence[float]], size: int = 1) -> list[Arrival]:
    """Make events of so many rows each."""
    found = []
    for offset, start in enumerate(range(0, len(rows), size)):
        inputs = np.array(rows[start : start + size], np.float32)
        event = QueryEvent(
            id=str(offset),
            account=KEY[0],
            model=KEY[1],
            time=1_000_000 * (1 + offset),
            inputs=Tensor.from_array(inputs),
            labels=[0] * len(inputs),
        )
        found.append(Arrival(event, Source("queries", 0, offset)))
    return found


def obvious(values: Sequence[int], capacity: int) -> Iterator[bool]:
    """Keep a list of the latest different values."""
    known: list[int] = []
    for value in values:
        yield value not in known
        if value not in known:
            known = [*known, value][-capacity:]


@given(values=letters, at=cuts)
def test_repeats_are_those_of_the_obvious_list(values: list[int], at: list[int]) -> None:
    """In any batches, and saved and restored between them."""
    rows = np.array(values, np.float32)[:, None] / 7
    repeats, segments, found = Repeats(CAPACITY), list[Segment](), []
    for start, end in pairwise(at):
        if len(rows[start:end]):
            found += repeats.take(rows[start:end]).tolist()
        segments = [each for each in segments if each.end > repeats.horizon()[NAME]]
        segments += repeats.drain()
        header, repeats = repeats.header(), Repeats(CAPACITY)
        repeats.load(header, segments)
    assert found == list(obvious(values, CAPACITY))
    assert repeats.count == found.count(False)


def test_what_is_saved_is_bounded_and_whole() -> None:
    """Pages are forgotten as their queries are; one that is missing is refused."""
    repeats, segments = Repeats(200), list[Segment]()
    rows = np.arange(1000.0)[:, None]
    for start in range(0, 1000, 30):
        repeats.take(rows[start : start + 30])
        segments += repeats.drain()
        segments = [each for each in segments if each.end > repeats.horizon()[NAME]]
        size = sum(len(each.data) for each in segments) + len(repeats.header())
        assert size <= repeats.limit()
    assert len(segments) < 200 / PAGE + 2
    restored = Repeats(200)
    restored.load(repeats.header(), segments)
    assert not restored.take(rows[800:]).any()
    assert restored.take(rows[:1]).all()
    with pytest.raises(StateError, match="repeats 800 to"):
        Repeats(200).load(repeats.header(), segments[1:])
    with pytest.raises(StateError):
        Repeats(100).load(repeats.header(), segments)
    repeats.clear()
    assert repeats.count == 0
    assert repeats.take(rows[999:]).all()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64"])
def test_values_are_compared(dtype: str) -> None:
    """Minus zero is zero; other types and shapes are other queries; arrays stay as they are."""
    rows = np.array([[0, 1], [1, 0], [0, 1]]).astype(dtype)
    repeats = Repeats(9)
    assert repeats.take(rows).tolist() == [True, True, False]
    if rows.dtype.kind == "f":
        negative = np.negative(rows[:1], where=rows[:1] == 0, out=rows[:1].copy())
        before = negative.copy()
        assert not repeats.take(negative).any()
        assert np.array_equal(np.signbit(negative), np.signbit(before))
    other = "float32" if dtype == "float64" else "float64"
    assert repeats.take(rows[:1].astype(other)).all()
    assert repeats.take(rows[:1, None]).all()


def test_a_detector_that_asks_is_given_no_repeats() -> None:
    """Its statistic is NaN there; others get all; queries keep their numbers, and are counted."""
    engine = Engine(profile("echo", "distinct"))
    rows = [[0, 0], [0.25, 0], [0, 0], [1, 0], [1, 0]]
    [outcome] = engine.process(arrivals(rows, 5))
    assert outcome.statistics["echo"].tolist() == [0, 0.25, 0, 1, 1]
    expected = [0, 0.25, np.nan, 1, np.nan]
    assert np.array_equal(outcome.statistics["distinct"], expected, equal_nan=True)
    told = {each.detector: each for each in outcome.verdicts}
    assert told["distinct"].query == told["echo"].query == 3
    assert told["distinct"].evidence == {"row": "any", "repeats": 1}
    assert told["echo"].evidence == {"row": "any"}
    [again] = engine.process(arrivals([[1, 0]]))
    assert np.isnan(again.statistics["distinct"]).all()
    assert (again.first, again.verdicts) == (5, [])


@pytest.mark.parametrize("mode", ["latch", "reset"])
@given(values=letters, at=cuts, size=st.integers(1, 3))
def test_batching_and_restoring_change_nothing(
    mode: str, values: list[int], at: list[int], size: int
) -> None:
    """Verdicts are the same bytes, statistics the same bits, offline as well."""
    rows = [[value / 9, 1 - value / 9] for value in values]
    made, events = profile("distinct", "echo", "doubled", mode=mode), arrivals(rows, size)
    once = Engine(made).process(events)
    engine, found = Engine(made), []
    for start, end in pairwise(at):
        found += engine.process(events[start:end])
        if KEY in engine.accounts:
            header, segments = engine.accounts[KEY].header(), engine.accounts[KEY].drain()
            assert not segments  # these are few; the rest lies in the header
            before = engine.accounts[KEY]
            engine.accounts[KEY] = Account(made)
            engine.accounts[KEY].load(header, [])
            for name, detector in before.detectors.items():  # toys keep no state
                engine.accounts[KEY].detectors[name] = detector
    for one, other in zip(once, found, strict=True):
        assert [*map(encode_verdict, one.verdicts)] == [*map(encode_verdict, other.verdicts)]
        for name, statistics in one.statistics.items():
            assert np.array_equal(statistics, other.statistics[name], equal_nan=True)
    if mode == "latch":
        whole = Batch(0, np.array(rows, np.float32), np.zeros(len(rows), np.int64))
        offline = Account(made).update(whole)
        for name, statistics in offline.items():
            online = np.concatenate([each.statistics[name] for each in once])
            assert np.array_equal(statistics, online, equal_nan=True)


def test_accounts_without_such_a_detector_keep_no_digests() -> None:
    """There is nothing to be left out, and nothing is stored for it."""
    account = Account(profile("echo"))
    assert account.repeats is None
    assert NAME not in account.setups
    assert account.horizon() == {}


def test_state_of_builds_that_knew_no_repeats_is_read() -> None:
    """The account goes on; what it sent before counts as different, once."""
    made = profile("distinct")
    account = Account(made)
    batch = Batch(0, np.ones((1, 2), np.float32), np.zeros(1, np.int64))
    account.update(batch)
    fields = msgspec.msgpack.decode(account.header())[:5]
    older = Account(made)
    older.load(msgspec.msgpack.encode(fields), [])
    assert (older.queries, older.lost) == (1, {})
    assert older.update(batch)["distinct"].tolist() == [1.0]


def test_digests_that_cannot_be_read_are_begun_anew() -> None:
    """Said in `lost`; the detectors go on."""
    made = profile("distinct")
    account = Account(made)
    account.update(Batch(0, np.ones((1, 2), np.float32), np.zeros(1, np.int64)))
    header = msgspec.msgpack.decode(account.header())
    header[5][1] = b"damaged"
    older = Account(made)
    older.load(msgspec.msgpack.encode(header), [])
    assert list(older.lost) == [NAME]
    assert older.repeats is not None
    assert older.repeats.count == 0


def test_a_forgotten_account_has_sent_nothing() -> None:
    """What it sent in its earlier life is no repeat in the next."""
    account = Account(profile("distinct"))
    batch = Batch(0, np.ones((2, 2), np.float32), np.zeros(2, np.int64))
    account.update(batch)
    account.forget()
    assert account.update(batch)["distinct"][0] == 1.0
