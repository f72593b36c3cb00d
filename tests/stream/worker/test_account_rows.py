"""Accounts as rows: whatever prefix of the rows survives, the account goes on as if undisturbed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.engine import (
    Arrival,
    Source,
)
from gamekeeper.schemas.errors import StateError
from gamekeeper.stream.worker.changelog import Stored
from gamekeeper.stream.worker.row_codec import MAX_ROW
from support.account_rows import KEY, Rows, Run, arrivals, of, profile, write


def cut(events: list[Arrival], sizes: list[int]) -> list[list[Arrival]]:
    """Cut events into batches of these sizes and a last one of the rest."""
    batches, rest = [], events
    for size in sizes:
        batches.append(rest[:size])
        rest = rest[size:]
    return [batch for batch in [*batches, rest] if batch]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), max_size=12),
    lives=st.lists(st.tuples(st.integers(0, 8), st.floats(0, 1)), max_size=4),
)
def test_any_surviving_prefix_leads_to_the_same_statistics(
    sizes: list[int], lives: list[tuple[int, float]]
) -> None:
    """Crash after any row of any batch, any number of times: nothing is lost, nothing differs."""
    events = arrivals(60)
    truth, _ = Run({}).take(events)
    rows: Rows = {}
    told: dict[int, str] = {}
    for crash, share in [*lives, (10**6, 1.0)]:
        run = Run(rows)
        for number, batch in enumerate(cut(events, sizes)):
            entry = run.store.open(KEY, batch[0].source, rows.get)
            offsets = [a.source.offset for a in batch if a.source.offset > entry.offset]
            statistics, written = run.take(batch)
            for offset, text in zip(offsets, statistics, strict=True):
                assert told.setdefault(offset, text) == text
            if number == crash:
                write(rows, written[: int(share * len(written))])
                break
            write(rows, written)
    assert [told[offset] for offset in range(60)] == truth


def test_forgotten_segments_are_deleted() -> None:
    """Rows do not pile up: an account of many batches keeps only what its detectors remember."""
    rows: Rows = {}
    run = Run(rows)
    counts = []
    for batch in cut(arrivals(600), [3] * 200):
        write(rows, run.take(batch)[1])
        counts.append(len(rows))
    assert max(counts[150:]) <= max(counts[:100]) * 1.5


def test_deletions_follow_the_header() -> None:
    """A row is deleted only after a header that does not need it."""
    run = Run({})
    deleted = False
    for batch in cut(arrivals(400), [3] * 130):
        kinds = [row.kind for row in run.take(batch)[1]]
        assert kinds == sorted(kinds, key=["segment", "header", "delete"].index)
        assert kinds.count("header") == 1
        deleted |= "delete" in kinds
    assert deleted


def test_a_large_segment_is_cut_and_joined_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment larger than a Kafka record may be spans rows, and comes back whole."""
    rows: Rows = {}
    run = Run(rows)
    entry = run.store.open(KEY, Source("queries", 0, 0), rows.get)
    big = bytes(range(256)) * (MAX_ROW // 100)
    monkeypatch.setattr(entry.account, "drain", lambda: [("prada", Segment("log", 7, big))])
    written = list(entry.rows())
    assert max(len(row.value or b"") for row in written) < MAX_ROW + 100
    write(rows, written)
    loaded: list[tuple[str, Segment]] = []
    monkeypatch.setattr(
        "gamekeeper.detectors.engine.account.Account.load",
        lambda _, __, segments: loaded.extend(segments),
    )
    Run(rows).store.open(KEY, Source("queries", 0, 1), rows.get)
    assert loaded == [("prada", Segment("log", 7, big))]


def test_other_options_start_the_detector_afresh_and_clear_its_rows() -> None:
    """Rows that another profile's detector made are not read, and are deleted."""
    rows: Rows = {}
    events = arrivals(60)
    write(rows, Run(rows).take(events[:30])[1])
    before = set(rows)
    run = Run(rows, profile(mode="paper"))
    entry = run.store.open(KEY, events[30].source, rows.get)
    assert entry.offset == 29
    assert entry.account.queries == 90
    written = run.take(events[30:])[1]
    write(rows, written)
    header = msgspec.msgpack.encode(KEY)
    gone = {row.key for row in written if row.kind == "delete"} - {header}
    assert gone
    assert gone < before
    again = Run(rows, profile(mode="paper"))
    assert again.store.open(KEY, events[-1].source, rows.get).offset == 59
    one, _ = run.take(arrivals(70)[60:])
    two, _ = again.take(arrivals(70)[60:])
    assert one == two


def test_an_evicted_account_comes_back() -> None:
    """An account that was dropped from memory goes on from its rows."""
    events = arrivals(60)
    truth, _ = Run({}).take(events)
    rows: Rows = {}
    run = Run(rows, limit=0)
    told: list[str] = []
    for batch in cut(events, [10] * 5):
        statistics, written = run.take(batch)
        write(rows, written)
        run.store.evict()
        assert len(run.store) == 0
        assert not run.engine.accounts
        told += statistics
    assert told == truth


def test_the_least_recently_used_account_goes_first() -> None:
    """Eviction keeps the accounts that were used last."""
    run = Run({}, limit=2)
    for name in ("a", "b", "c", "a", "d"):
        run.store.open((name, "m"), Source("queries", 0, 0), run.rows.get)
        run.store.evict()
    assert set(run.engine.accounts) == {("a", "m"), ("d", "m")}


def test_accounts_are_evicted_by_their_bytes_too() -> None:
    """What is hot stays below the bytes, the account used last stays, and all come back."""
    events = arrivals(200)
    calm, _ = Run({}).take(events)
    limit = 250_000
    run = Run({}, max_bytes=limit)
    told: dict[str, list[str]] = {}
    for batch in cut(events, [40] * 4):
        for name in ("a", "b", "c", "d", "e", "f", "g", "h"):
            run.key = name, KEY[1]
            statistics, written = run.take([of(each, name) for each in batch])
            told.setdefault(name, []).extend(statistics)
            write(run.rows, written)
            run.store.evict()
            assert run.store.bytes == sum(run.store.hot(key).bytes for key in run.engine.accounts)
            assert run.store.bytes <= limit
            assert run.key in run.engine.accounts
    assert 1 < len(run.store) < len(told)
    assert all(statistics == calm for statistics in told.values())


def test_another_partition_has_its_own_state() -> None:
    """An account that shows up on another partition is not continued with the wrong offsets."""
    run = Run({})
    run.take(arrivals(5))
    other = run.store.open(KEY, Source("queries", 1, 0), {}.get)
    assert other.offset == -1
    assert run.engine.accounts[KEY] is other.account
    assert other.account.queries == 0


def test_rows_of_another_partition_are_not_continued() -> None:
    """Where a store gives another partition's rows, no event is skipped for that one's offsets."""
    rows: Rows = {}
    write(rows, Run(rows).take(arrivals(30))[1])
    entry = Run(rows).store.open(KEY, Source("queries", 1, 0), rows.get)
    assert entry.offset == -1
    assert entry.account.queries == 0


def test_another_topic_begins_with_its_first_event() -> None:
    """Offsets of one topic skip no event of another; the account's state goes on, then as now."""
    rows: Rows = {}
    events = arrivals(60)
    truth, _ = Run({}).take(events)
    write(rows, Run(rows).take(events[:30])[1])
    moved = [
        each._replace(source=Source("other", 0, number)) for number, each in enumerate(events[30:])
    ]
    told, written = Run(rows).take(moved[:20])
    write(rows, written)
    rest, _ = Run(rows).take(moved)
    assert told + rest == truth[30:]


def test_another_life_of_the_topic_begins_with_its_first_event() -> None:
    """A topic that was deleted and made anew counts from 0: none of its events is skipped."""
    rows: Rows = {}
    events = arrivals(60)
    truth, _ = Run({}).take(events)
    write(rows, Run(rows).take(events[:30])[1])
    anew = [
        each._replace(source=Source("queries", 0, number))
        for number, each in enumerate(events[30:])
    ]
    told, written = Run(rows, life=7).take(anew[:20])
    write(rows, written)
    rest, _ = Run(rows, life=7).take(anew)
    assert told + rest == truth[30:]
    assert Run(rows).store.open(KEY, Source("queries", 0, 0), rows.get).offset == -1


@pytest.mark.parametrize("unknown", [1, 2])
def test_headers_of_builds_that_knew_no_lives_are_read(unknown: int) -> None:
    """Theirs is life 0, whose offsets go on counting; nothing is noted for a promise."""
    rows: Rows = {}
    write(rows, Run(rows).take(arrivals(30))[1])
    [key] = [key for key in rows if key == msgspec.msgpack.encode(KEY)]
    fields = msgspec.msgpack.decode(rows[key].data)
    assert fields[-2:] == [0, None]
    rows[key] = Stored(0, msgspec.msgpack.encode(fields[:-unknown]))
    entry = Run(rows).store.open(KEY, Source("queries", 0, 30), rows.get)
    assert (entry.offset, entry.account.queries) == (29, 90)


@pytest.mark.parametrize("garbled", [b"\x00", b"\x96\x63\xa1q\x00\x00\x90\xc4\x00"])
def test_damage_is_told_and_can_be_overcome(garbled: bytes) -> None:
    """A header that cannot be read raises an error that names the account; a new start helps."""
    rows: Rows = {}
    written = Run(rows).take(arrivals(30))[1]
    write(rows, written)
    header = next(row for row in written if row.kind == "header")
    rows[header.key] = Stored(header.epoch, garbled)
    run = Run(rows)
    with pytest.raises(StateError, match="alice"):
        run.store.open(KEY, Source("queries", 0, 99), rows.get)
    assert run.store.renew(KEY, Source("queries", 0, 99)).account.queries == 0


@pytest.mark.parametrize("damage", ["missing", "garbled", "codec"])
def test_a_detector_that_cannot_be_read_begins_anew_alone(
    damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other detector goes on, the account's queries count on, and later rows are all read."""
    events = arrivals(90)
    rows: Rows = {}
    with monkeypatch.context() as patch:
        if damage == "codec":
            patch.setattr("gamekeeper.detectors.prada.CODEC", 0)
        write(rows, Run(rows).take(events[:30])[1])
    if damage != "codec":
        prada = next(
            key for key in rows if len(key) > 20 and msgspec.msgpack.decode(key)[2] == "prada"
        )
        there = rows.pop(prada)
        if damage == "garbled":
            rows[prada] = Stored(there.epoch, b"\x00")
    run = Run(rows)
    entry = run.store.open(KEY, events[30].source, rows.get)
    assert list(entry.account.lost) == ["prada"]
    assert (entry.offset, entry.account.queries) == (29, 90)
    told, written = run.take(events[30:60])
    write(rows, written)
    told += (again := Run(rows)).take(events[60:])[0]
    assert not again.engine.accounts[KEY].lost
    calm, anew = Run({}).take(events)[0][30:], Run({}).take(events[30:])[0]
    other = "'prada-v1'"
    assert [each.partition(other)[2] for each in told] == [
        each.partition(other)[2] for each in calm
    ]
    assert [each.partition(other)[0] for each in told] == [
        each.partition(other)[0] for each in anew
    ]
