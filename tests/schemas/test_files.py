"""Files that are whole or absent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from gamekeeper.schemas.files import make_folder, whole
from gamekeeper.schemas.tables import write_parquet
from gamekeeper.stream.sink.files import Drafts, group_of


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files and folders that are synced, in order, as they are named at the time."""
    found: list[Path] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return found


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """A file takes its place at the end of the block, or never."""
    path = tmp_path / "deep" / "file"
    make_folder(path.parent)
    with whole(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(FileNotFoundError), whole(path):
        pass
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_two_writers_do_not_share_a_temporary(tmp_path: Path) -> None:
    """Writers of one file write beside each other, even where their process ids are the same."""
    path = tmp_path / "file"
    with whole(path) as one:
        with whole(path) as other:
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one"


def by_whole(path: Path) -> None:
    """Write by `whole`."""
    make_folder(path.parent)
    with whole(path) as temporary:
        temporary.touch()


def by_parquet(path: Path) -> None:
    """Write a table."""
    write_parquet(pa.table({"a": [1]}), path)


def by_drafts(path: Path) -> None:
    """Write as the sink does."""
    with Drafts() as drafts:
        with drafts.add(path) as temporary:
            temporary.touch()
        drafts.publish()


def by_group(path: Path) -> None:
    """Draw the group of a new folder."""
    group_of(path.parent, "keeper")


@pytest.mark.parametrize("write", [by_whole, by_parquet, by_drafts, by_group])
def test_new_folders_survive_a_power_cut(
    tmp_path: Path, synced: list[Path], write: Callable[[Path], None]
) -> None:
    """The file is synced, its folder after it, and each folder's own entry where it is new."""
    folder = tmp_path / "table" / "date=2023-11-15"
    write(folder / "file")
    assert synced[:2] == [tmp_path, tmp_path / "table"]
    assert synced[2].parent == folder
    assert synced[2].suffix == ".tmp"
    assert synced[3:] == [folder]
