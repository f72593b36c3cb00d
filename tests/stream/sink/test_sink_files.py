"""The sink's files, without a broker: whose they are, and which are doubtful."""

from __future__ import annotations

from pathlib import Path

import pytest

from gamekeeper.schemas.errors import TraceError
from gamekeeper.stream.sink_files import Partition, group_of


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


def test_only_doubtful_files_of_the_partition_are_removed(tmp_path: Path) -> None:
    """Taking a partition over removes what is not committed of it, and nothing else."""
    mine = Partition(tmp_path, "verdicts", "topic", 1)
    for name in ("topic-1", "topic-12", "topic-1-1", "other-1"):
        for offset in (0, 5, 10):
            for table, suffix in (("verdicts/date=2023-11-15", "parquet"), ("rejected", "jsonl")):
                path = tmp_path / table / f"{name}-{offset:020d}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                path.with_name(f".{path.name}.77.tmp").touch()
    everything = {path for path in tmp_path.rglob("*") if path.is_file()}
    mine.forget(5)
    removed = everything - {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name for path in removed if path.suffix != ".tmp"} == {
        f"topic-1-{offset:020d}.{suffix}" for offset in (5, 10) for suffix in ("parquet", "jsonl")
    }
    assert [path.name for path in mine.files()] == [f"topic-1-{0:020d}.parquet"]
