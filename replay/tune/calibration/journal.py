"""What an interrupted calibration has already scored, kept beside the profile that it is to make.

A folder holds one file for what was fitted and one for each shard of accounts, each written whole,
so that no signal and no power cut leaves half of one. It is named after all that scores depend on:
what was scored for something else is never taken. A secret that was drawn is kept with them, since
the next run would draw another one.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from gamekeeper.detectors.engine import DetectorProfile, Profile
from gamekeeper.replay.traces import Life, trace_files
from gamekeeper.replay.tune.calibration.maxima import Maxima
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.files import write_whole

SECRET: Final = "secret"  # noqa: S105  the name of the option
"""An option of this name is drawn: a detector's default is public."""

Kind = TypeVar("Kind")


class Journal:
    """The journal of the profile at `out`; `drawn` names the detectors whose secret was drawn.

    `recalled` counts the accounts that an earlier run had scored. Raises `SettingsError` where it
    cannot be written.
    """

    def __init__(self, out: Path, drawn: Collection[str] = ()) -> None:
        self.recalled = 0
        self._top = out.with_name(f".{out.name}.scored")
        self._folder = self._top
        self._drawn = drawn

    def open(self, paths: Iterable[Path | str], base: Profile, *rest: object) -> None:
        """Find what was scored for these traces, this profile and the `rest`; drop all else.

        Raises `ProfileError` where there is no folder for the profile.
        """
        if not self._top.parent.is_dir():
            raise ProfileError(f"{self._top.parent}: cannot write the profile: no such folder")
        known = [_without_secret(each, self._drawn) for each in base.detectors]
        bare = msgspec.structs.replace(base, detectors=tuple(known))
        files = [(each.trace, _content(each.path)) for each in trace_files(paths)]
        self._folder = self._top / _name(files, bare, version("gamekeeper"), *rest)
        for each in self._top.glob("*"):
            if each != self._folder:
                shutil.rmtree(each, ignore_errors=True)

    def fitted(self) -> Profile | None:
        """Give the profile that an earlier run fitted, if it came so far."""
        return self._read(self._folder / "fitted", Profile)

    def keep_fitted(self, profile: Profile) -> None:
        """Note the profile with its fitted options."""
        write_whole(self._folder / "fitted", msgspec.msgpack.encode(profile))

    def scored(self, lives: Iterable[Life], how: object) -> list[Maxima] | None:
        """Give what an earlier run found of a shard's lives, scored this way."""
        found = self._read(self._folder / _name(list(lives), how), list[Maxima])
        self.recalled += len(found or ())
        return found

    def keep(self, lives: Iterable[Life], how: object, found: list[Maxima]) -> None:
        """Note what was found of a shard's lives."""
        path = self._folder / _name(list(lives), how)
        write_whole(path, msgspec.msgpack.encode(found))

    def close(self) -> None:
        """Drop it: the profile is there."""
        shutil.rmtree(self._top, ignore_errors=True)

    def _read(self, path: Path, kind: type[Kind]) -> Kind | None:
        """Read a file; None where there is none, or none that can be read."""
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError):
            return None


def _without_secret(each: DetectorProfile, drawn: Collection[str]) -> DetectorProfile:
    if each.detector not in drawn:
        return each
    options = {name: value for name, value in each.options.items() if name != SECRET}
    return msgspec.structs.replace(each, options=options)


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name(*parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:32]
