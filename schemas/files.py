"""Files that are whole or absent: written beside their place, then moved there in one step."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gamekeeper.schemas.errors import SettingsError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary path; what is written there takes the place of `path` at the block's end.

    Where the block raises, `path` stays as it was. Raises `OSError`, also where there is no folder.
    """
    temporary = temporary_for(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is always absent, the old one or the whole new one."""
    try:
        make_folder(path.parent)
        with whole(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error


def temporary_for(path: Path) -> Path:
    """Name a file beside `path` as nobody else does: in containers, all process ids are alike."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that they survive a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's names, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
