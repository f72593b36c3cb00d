"""Habits declared in a profile, and taken back: each time another one, with the same promise."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gamekeeper.detectors.engine import DeclaredHabit, Profile, resolve
from gamekeeper.replay.tune.calibration.profiles import write_profile
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.files import write_whole
from gamekeeper.stream.profile_files import read_network


def declare(profile: Profile, habit: DeclaredHabit) -> Profile:
    """Declare an account's habit, in the place of what was declared of it; raises `ProfileError`.

    They stand in the order of the accounts' names: the same declarations are the same profile.
    """
    known = {**profile.declared, habit.account: habit}
    return resolve(
        msgspec.structs.replace(profile, habits=tuple(known[each] for each in sorted(known)))
    )


def revoke(profile: Profile, account: str) -> Profile:
    """Take back what is declared of an account; `ProfileError` where nothing is."""
    if account not in profile.declared:
        raise ProfileError(
            f"profile {profile.name!r} declares no habit of account {account!r}; "
            "`gamekeeper profile show` lists those that it does"
        )
    return msgspec.structs.replace(
        profile, habits=tuple(each for each in profile.habits if each.account != account)
    )


def write_beside(profile: Profile, folder: Path, out: Path) -> None:
    """Write a profile whose networks lie in `folder`; into another folder, these as well.

    Raises `ProfileError` and `SettingsError`.
    """
    if folder.resolve() != out.parent.resolve():
        for ref in profile.networks:
            write_whole(out.parent / ref.file, read_network(ref, folder))
    write_profile(profile, out)
