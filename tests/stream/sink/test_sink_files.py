"""The sink's files, without a broker: whose they are, and which are doubtful."""

from __future__ import annotations

from pathlib import Path

import pytest

from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.files import temporary_for
from gamekeeper.stream.sink.files import Drafts, Partition, group_of
from support.sink_traffic import NOON


def test_a_folder_has_one_group(tmp_path: Path) -> None:
    """A folder's group stays; another folder has another; a foreign file is an error."""
    group = group_of(tmp_path / "a", "keeper")
    assert group.startswith("keeper-sink-")
    assert group_of(tmp_path / "a", "keeper") == group
    assert group_of(tmp_path / "b", "keeper") != group
    for foreign in ("", "[]", '{"group": 1}'):
        (tmp_path / "b" / "sink.json").write_text(foreign)
        with pytest.raises(TraceError, match=r"sink\.json"):
            group_of(tmp_path / "b", "keeper")


def test_half_written_files_of_the_partition_are_swept_away(tmp_path: Path) -> None:
    """Taking a partition over removes what is half-written of it, and nothing else."""
    mine = Partition(tmp_path, "verdicts", "topic", 1)
    paths = [tmp_path / "sink.json"]
    for name in ("topic-1", "topic-12", "topic-1-1", "other-1"):
        paths.append(tmp_path / "memory" / f"{name}.parquet")
        for offset in (0, 5, 10):
            file = f"{name}-{offset:020d}"
            paths.append(tmp_path / "verdicts" / "date=2023-11-15" / f"{file}.parquet")
            paths.append(tmp_path / "rejected" / f"{file}.jsonl")
            paths.append(tmp_path / "gaps" / f"{file}.parquet")
    for path in [*paths, *map(temporary_for, paths)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    everything = {path for path in tmp_path.rglob("*") if path.is_file()}
    mine.sweep()
    removed = everything - {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(path.suffix == ".tmp" for path in removed)
    assert {path.name.rsplit(".", 2)[0] for path in removed} == {
        ".topic-1.parquet",
        *(f".topic-1-{at:020d}.{suffix}" for at in (0, 5, 10) for suffix in ("parquet", "jsonl")),
    }
    assert [offset for offset, _ in mine.files()] == [0, 5, 10]
    assert [offset for offset, _ in mine.others()] == [0, 5, 10] * 2
    assert [path for _, path in mine.files()] == [mine.file(NOON, at) for at in (0, 5, 10)]


def test_drafts_are_published_together_or_not_at_all(tmp_path: Path) -> None:
    """Drafts get their names by `publish` alone; what is swept away before cannot get one."""
    mine = Partition(tmp_path, "verdicts", "topic", 1)
    path = mine.file(NOON, 7)
    for swept in (True, False):
        with Drafts() as drafts:
            with drafts.add(path) as temporary:
                temporary.write_text("rows")
            assert not path.exists()
            if swept:
                mine.sweep()
            assert drafts.publish() is not swept
        assert path.exists() is not swept
        assert list(path.parent.glob(".*")) == []
    with Drafts() as drafts, drafts.add(mine.file(NOON, 8)) as temporary:
        temporary.write_text("rows")
    assert [offset for offset, _ in mine.files()] == [7]


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    """What the system refuses is a `TraceError` that names the file."""
    (tmp_path / "verdicts").touch()
    path = Partition(tmp_path, "verdicts", "topic", 1).file(NOON, 7)
    with (
        pytest.raises(TraceError, match=rf"{path}: cannot be written"),
        Drafts() as drafts,
        drafts.add(path),
    ):
        pass
