"""Rows that come too late change nothing, whatever survives of them and of the others."""

from __future__ import annotations

import random
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.schemas.errors import StateError
from gamekeeper.stream.worker.changelog import (
    FENCE,
    MARK,
    Change,
    Stored,
    _Fence,
    changes,
    epoch_of,
    fence,
    record_key,
    stored,
)
from gamekeeper.stream.worker.row_codec import Row
from support.account_rows import KEY, Run, arrivals

Record = tuple[bytes, bytes | None]
EVENTS = 24


def restored(
    records: Iterable[Record], store: dict[bytes, bytes] | None = None, first: int = 0
) -> Any:
    """Restore a local store from a changelog; `store` has what came before."""
    held = {} if store is None else store
    for change in _changes(records, held, first):
        if change.value is None:
            held.pop(change.key, None)
        else:
            held[change.key] = change.value
    return held


def _changes(records: Iterable[Record], held: dict[bytes, bytes], first: int = 0) -> list[Change]:
    events = [
        SimpleNamespace(
            message=SimpleNamespace(key=key, value=value, partition=0, offset=offset, tp=None)
        )
        for offset, (key, value) in enumerate(records, first)
    ]
    return list(changes(events, lambda _, key: held.get(key)))


def test_a_row_is_kept_with_its_epoch_and_deleted_by_its_own_tombstone() -> None:
    """A tombstone of an earlier owner's row leaves the one that was written since."""
    one, two = (record_key(b"row", epoch) for epoch in (3, 9))
    held = restored([(FENCE, fence(3)), (one, b"a"), (FENCE, fence(9)), (two, b"b"), (one, None)])
    assert stored(held[b"row"]) == Stored(9, b"b")
    assert b"row" not in restored([(two, None)], held, 5)


def test_rows_behind_a_later_fence_are_left_aside() -> None:
    """Whether or not the new owner has written the same row, and its fence is left."""
    late = [(record_key(b"a", 3), b"late"), (record_key(b"b", 3), b"late")]
    good = [(record_key(b"a", 3), b"old"), (FENCE, fence(9)), (record_key(b"a", 9), b"new")]
    held = restored([*good, *late])
    assert stored(held[b"a"]) == Stored(9, b"new")
    assert b"b" not in held
    compacted = [record for record in good if record[0] != FENCE]
    assert stored(restored([*compacted, *late])[b"a"]) == Stored(9, b"new")


def test_a_fence_that_comes_too_late_does_nothing() -> None:
    """It has a lower epoch than the successor's, whose rows go on counting."""
    records = [(FENCE, fence(9)), (FENCE, fence(3)), (record_key(b"a", 9), b"new")]
    assert stored(restored(records)[b"a"]) == Stored(9, b"new")


def test_each_record_is_a_change_with_its_offset() -> None:
    """A local store knows how far it has come, past marks and late rows, too."""
    records = [(MARK, b""), (FENCE, fence(1)), (record_key(b"a", 0), b"x"), (b"unknown", None)]
    assert [change.offset for change in _changes(records, {})] == [0, 1, 2, 3]


def test_rows_of_earlier_builds_are_read() -> None:
    """In the changelog their keys are plain, in the local store their values."""
    key, value = msgspec.msgpack.encode(KEY), msgspec.msgpack.encode((1, "q", 0, 5, [], b""))
    held = restored([(key, value), (MARK, b"")])
    assert stored(held[key]) == Stored(0, value)
    assert stored(value) == Stored(0, value)
    newer = restored([(FENCE, fence(1)), (record_key(key, 1), b"new"), (key, None)], dict(held), 2)
    assert stored(newer[key]) == Stored(1, b"new")


class Changelog:
    """A partition's changelog, and workers that take it over from each other in turn."""

    def __init__(self) -> None:
        """Begin empty."""
        self.records: list[Record] = []
        self.gone = 0  # by compaction: offsets go on
        self.taken = 0  # where the latest tenure began
        self.safe = 0  # where the latest one began that has finished a batch
        self.late: list[Record] = []
        self.told: dict[int, str] = {}

    def take_over(self) -> Run:
        """Let a new owner mark, fence and restore."""
        self.taken = len(self.records)
        epoch = epoch_of(self.gone + len(self.records))
        self.records += [(MARK, b""), (FENCE, fence(epoch))]
        held = restored(self.records)
        rows = {key: found for key, value in held.items() if (found := stored(value))}
        return Run(rows, epoch=epoch)

    def write(self, rows: list[Row], among: int = 0) -> None:
        """Append an owner's rows; up to `among` of the last one's late rows come before each."""
        for row in rows:
            for _ in range(min(among, len(self.late))):
                self.records.append(self.late.pop(0))
            self.records.append((record_key(row.key, row.epoch), row.value))

    def compact(self) -> None:
        """Keep the last record of each key, of those before `safe`.

        `min.compaction.lag.ms` is for that: what late rows came of has been applied again.
        """
        old = self.records[: self.safe]
        last = {key: at for at, (key, _) in enumerate(old)}
        kept = [record for at, record in enumerate(old) if last[record[0]] == at]
        self.records[: self.safe] = kept
        self.gone += len(old) - len(kept)
        self.safe = len(kept)

    def work(self, run: Run, batches: int, size: int, among: int) -> list[Row]:
        """Apply some batches and write their rows; give those of one more, not yet written."""
        for left in range(batches, -1, -1):
            entry = run.store.open(KEY, arrivals(1)[0].source, run.rows.get)
            events = arrivals(EVENTS)[entry.offset + 1 : entry.offset + 1 + size]
            if not events:
                return []
            statistics, rows = run.take(events)
            for event, text in zip(events, statistics, strict=True):
                assert self.told.setdefault(event.source.offset, text) == text
            if not left:
                return rows
            self.write([row for row in rows if row.kind != "delete"], among)
            self.write([row for row in rows if row.kind == "delete"], among)
            run.keep(rows)
            self.safe = self.taken
        return []


Tenure = tuple[int, int, float, int, bool]

tenure = st.tuples(
    st.integers(0, 3),  # batches that it finishes
    st.integers(1, 6),  # events in each
    st.floats(0, 1),  # share of the last one's rows that come in time
    st.integers(0, 3),  # late rows before each of the successor's
    st.booleans(),  # whether the log is compacted before
)


@settings(max_examples=100, deadline=None)
@given(st.lists(tenure, max_size=6))
def test_late_rows_change_no_statistic(tenures: list[Tenure]) -> None:
    """Owners that are cut off in a save, whose other rows come among their successors'."""
    check(tenures)


def check(tenures: Iterable[Tenure]) -> None:
    """Each owner finishes some batches, and is cut off in one more; compare with one that is not.

    Compaction may come at any time.
    """
    truth, _ = Run({}).take(arrivals(EVENTS))
    log = Changelog()
    for batches, size, share, among, compacted in tenures:
        if compacted:
            log.compact()
        unwritten = log.work(log.take_over(), batches, size, among)
        log.records += log.late  # what is left of an earlier one's rows
        new = [row for row in unwritten if row.kind != "delete"]
        in_time = int(share * len(new))
        log.write(new[:in_time])
        log.late = [(record_key(row.key, row.epoch), row.value) for row in new[in_time:]]
    run = log.take_over()
    log.work(run, EVENTS, EVENTS, 3)
    entry = run.store.open(KEY, arrivals(1)[0].source, run.rows.get)
    assert entry.offset == EVENTS - 1
    assert [log.told[offset] for offset in range(EVENTS)] == truth


def drawn(seed: int) -> list[Tenure]:
    """Draw a schedule."""
    chance = random.Random(seed)
    return [
        (
            chance.randint(0, 3),
            chance.randint(1, 6),
            chance.random(),
            chance.randint(0, 3),
            chance.random() < 0.5,
        )
        for _ in range(6)
    ]


def test_the_simulation_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no fence counts, some schedule goes wrong."""
    where = "gamekeeper.stream.worker.changelog"
    monkeypatch.setattr(f"{where}._latest", lambda value, offset: _Fence())
    with pytest.raises((AssertionError, StateError)):
        check_all(range(100))


def check_all(seeds: Iterable[int]) -> None:
    """Check schedules that are drawn by seeds."""
    for seed in seeds:
        check(drawn(seed))


def test_reading_again_from_an_earlier_place_ends_the_same() -> None:
    """Faust does that with what is in memory, when partitions move and come back."""
    one, two, three = (record_key(b"row", epoch) for epoch in (1, 2, 3))
    records: list[Record] = [(FENCE, fence(1)), (one, b"a"), (one, None), (one, b"b")]
    records += [(FENCE, fence(2)), (two, b"c"), (one, b"late"), (FENCE, fence(3)), (three, b"d")]
    for end in range(1, len(records) + 1):
        held = restored(records[:end])
        for begin in range(end):
            again = dict(held)
            restored(records[begin:end], again, begin)
            assert again == held
