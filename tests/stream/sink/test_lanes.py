"""Lanes, without a broker: what they know when they go on, wherever they were killed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gamekeeper.schemas.event import encode_event
from gamekeeper.schemas.order import CloseOrder, ProfileOrder, encode_order
from gamekeeper.schemas.verdict import encode_verdict
from gamekeeper.stream.sink import Lane, QueryLane, ScoreLane, VerdictLane
from gamekeeper.stream.sink import lane as sink_lane
from gamekeeper.stream.sink.files import Drafts, Partition, forget
from gamekeeper.stream.sink.lane import Record, memory_offset
from support.sink_traffic import query, scores, tables, verdict

KINDS = [VerdictLane, QueryLane, ScoreLane]


class Killed(BaseException):
    """The end of the process."""


def value(table: str, number: int) -> bytes:
    """Make the record of a number: each fifth is a double, and days change within a batch."""
    number -= number % 5 == 4
    account = f"account-{number % 3}"
    if table == "verdicts":
        return encode_verdict(verdict(number, account, day=number % 2))
    if table == "scores":
        return scores(number, account)
    return encode_event(query(number, account, rows=1 + number % 2, day=number % 2))


def taken(lane: Lane, count: int) -> None:
    """Give a lane its next records."""
    for offset in range(lane.start, lane.start + count):
        body = value(lane.table, offset)
        account = f"account-{(offset - (offset % 5 == 4)) % 3}"
        lane.take(Record(offset, account.encode(), body))


def opened(kind: type[Lane], folder: Path, start: int) -> Lane:
    """Open a lane at a committed offset, as the sink does."""
    files = Partition(folder, kind.table, "topic", 1)
    files.sweep()
    found = files.files()
    forget(path for offset, path in [*found, *files.others()] if offset >= start)
    lane = kind(files, start)
    for _ in lane.restore([each for each in found if each.offset < start]):
        pass
    return lane


def written(lane: Lane, committed: list[int], most: int = 256) -> None:
    """Write a lane's records, or as many as make so many files, and commit them."""
    with Drafts() as drafts:
        lane.write(drafts, most)
        assert drafts.publish()
    committed.append(lane.end)
    lane.done()


def filled(kind: type[Lane], folder: Path, batches: Sequence[int]) -> Lane:
    """Fill a folder undisturbed."""
    lane = opened(kind, folder, 0)
    for size in batches:
        taken(lane, size)
        written(lane, [])
    return lane


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that lanes have read to go on; memories are written often."""
    found: list[Path] = []
    plain = sink_lane._read

    def note(path: Path, names: list[str]) -> Any:
        found.append(path)
        return plain(path, names)

    monkeypatch.setattr(sink_lane, "_read", note)
    monkeypatch.setattr(sink_lane, "FILES_BEHIND", 3)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_stands_for_the_files_before_it(
    kind: type[Lane], tmp_path: Path, read: list[Path]
) -> None:
    """A lane knows the same with its memory and without, and reads few files with it."""
    for count in (1, 2, 5, 8):
        folder = tmp_path / str(count)
        lane = filled(kind, folder, [4] * count)
        read.clear()
        memory = opened(kind, folder, lane.start)
        assert len(read) <= 1 + sink_lane.FILES_BEHIND
        lane.files.memory.unlink(missing_ok=True)
        anew = opened(kind, folder, lane.start)
        assert columns(memory) == columns(anew) == columns(lane)


def test_orders_are_no_queries(tmp_path: Path) -> None:
    """Orders lie among the queries, and are neither written nor rejected."""
    orders = [
        CloseOrder(account="account-0", model="digits", finding="f", time=1),
        ProfileOrder(app="gamekeeper", profile="0123456789abcdef", time=1),
    ]
    lane = opened(QueryLane, tmp_path, 0)
    taken(lane, 2)
    for offset, order in enumerate(orders, 2):
        lane.take(Record(offset, None, encode_order(order)))
    with Drafts() as drafts:
        count = lane.write(drafts, 256)
    assert (count.rows, count.rejected) == (3, 0)
    assert lane.end == 4


def columns(lane: Lane) -> list[tuple[Any, ...]]:
    """Give what a lane knows, whatever its order.

    From files, a lane of scores knows each row's query, and not only each record's first.
    """
    rows = sorted(zip(*lane.known().values(), strict=True))
    return [row for row in rows if lane.table != "scores" or row[2] % 2 == 0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_many_days_is_written_in_parts(kind: type[Lane], tmp_path: Path) -> None:
    """A batch of more files than may be is cut; its rows are those of one that is not."""
    filled(kind, tmp_path / "whole", [16])
    lane = opened(kind, tmp_path / "parts", 0)
    taken(lane, 16)
    committed: list[int] = []
    while lane.pending:
        before = len(lane.files.files())
        written(lane, committed, most=1)
        assert len(lane.files.files()) <= before + 1
        assert lane.cut == lane.pending
    assert committed[-1] == 16
    assert committed == sorted(committed)
    assert kind is ScoreLane or len(committed) > 2
    assert tables(tmp_path / "parts") == tables(tmp_path / "whole")


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_that_is_late_is_right(kind: type[Lane], tmp_path: Path, read: list[Path]) -> None:
    """An older memory, put back by a sink that has slept since, leads to the same knowledge."""
    lane = filled(kind, tmp_path, [5] * 6)
    old = lane.files.memory.read_bytes()
    for _ in range(6):
        taken(lane, 5)
        written(lane, [])
    assert lane.files.memory.read_bytes() != old
    lane.files.memory.write_bytes(old)
    assert columns(opened(kind, tmp_path, lane.start)) == columns(lane)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_step_changes_nothing(
    kind: type[Lane], tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before any sync or rename, of files and memory, a lane goes on to the same rows."""
    filled(kind, tmp_path / "calm", [3] * 5)
    steps = 0
    while True:
        folder = tmp_path / f"killed-{steps}"
        committed = [0]
        with monkeypatch.context() as patch:
            deadly(patch, steps)
            try:
                finish(kind, folder, committed)
            except Killed:
                steps += 1
            else:
                break
        finish(kind, folder, committed)
        assert tables(folder) == tables(tmp_path / "calm")
        assert memory_offset(Partition(folder, kind.table, "topic", 1)) in committed
        assert not list(folder.rglob("*.tmp"))
    assert steps > 20


def finish(kind: type[Lane], folder: Path, committed: list[int]) -> None:
    """Go on from what is committed to the 15th record."""
    lane = opened(kind, folder, committed[-1])
    while lane.start < 15:
        taken(lane, min(3, 15 - lane.start))
        written(lane, committed)


def deadly(patch: pytest.MonkeyPatch, steps: int) -> None:
    """Kill at a sync or rename, leaving everything as it is then."""
    left = steps
    dead = False

    def wrap(plain: Any) -> Any:
        def call(*arguments: Any) -> Any:
            nonlocal left, dead
            dead = dead or left == 0
            left -= 1
            if dead:
                raise Killed
            return plain(*arguments)

        return call

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if not dead:
            plain(path, missing_ok=missing_ok)

    plain = Path.unlink
    patch.setattr(Path, "unlink", unlink)
    patch.setattr(Path, "replace", wrap(Path.replace))
    patch.setattr(os, "fsync", wrap(os.fsync))


def test_a_damaged_memory_is_named(tmp_path: Path, read: list[Path]) -> None:
    """A memory that cannot be read is an error with the next step."""
    lane = filled(QueryLane, tmp_path, [5] * 6)
    lane.files.memory.write_bytes(b"PAR1")
    with pytest.raises(sink_lane.TraceError, match=r"memory/topic-1\.parquet: .*move it away"):
        opened(QueryLane, tmp_path, lane.start)
