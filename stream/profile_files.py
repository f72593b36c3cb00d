"""Profiles and their networks as files: read, checked, and told apart from what is not one."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import msgspec

from gamekeeper.detectors.base import Featurizer
from gamekeeper.detectors.engine import NetworkRef, Profile, resolve
from gamekeeper.schemas.errors import ProfileError


def load_profile(path: Path) -> Profile:
    """Read a profile from a JSON file; `ProfileError` names the file and the fault."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ProfileError(
            f"{path}: no such file; `gamekeeper calibrate --out` writes one"
        ) from error
    except OSError as error:
        raise ProfileError(f"{path}: cannot read the profile: {error.strerror}") from error
    return parse_profile(data, str(path))


def parse_profile(data: bytes, where: str) -> Profile:
    """Make a profile of JSON; `ProfileError` names the fault and `where` it is."""
    try:
        profile = msgspec.json.decode(data, type=Profile)
    except msgspec.MsgspecError as error:
        raise ProfileError(
            f"{where}: not a profile, or not all of one: {error}; `gamekeeper calibrate --out` "
            "writes one"
        ) from error
    if profile.schema != 1:
        raise ProfileError(f"{where}: profile schema {profile.schema}; this version reads 1")
    return resolve(profile)


def load_networks(profile: Profile, folder: Path) -> tuple[Featurizer, ...]:
    """Load the profile's networks from the files in `folder`; `ProfileError` names a faulty one."""
    return tuple(
        make_network(ref, read_network(ref, folder), str(folder / ref.file))
        for ref in profile.networks
    )


def read_network(ref: NetworkRef, folder: Path) -> bytes:
    """Read a network's file in `folder`; `ProfileError` where it is another one, or none."""
    path = folder / ref.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProfileError(
            f"{path}: cannot read the network that makes {ref.feature}: {error.strerror}; a "
            "profile's networks lie beside it"
        ) from error
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        raise ProfileError(f"{path}: not the network that the profile was calibrated with")
    return data


def make_network(ref: NetworkRef, data: bytes, where: str) -> Featurizer:
    """Make the network of its file's bytes; `ProfileError` says what is wrong, and `where`."""
    network = _restore(data, where)
    if network.name != ref.feature:
        raise ProfileError(f"{where}: makes {network.name}, not {ref.feature}")
    return network


@lru_cache(maxsize=4)
def _restore(data: bytes, where: str) -> Featurizer:
    """Make a network of a file's bytes, once for all shards that a process takes."""
    try:
        from gamekeeper.detectors.networks import load  # takes seconds
    except ImportError as error:
        raise ProfileError(
            f"the profile has networks, which take {error.name}: pip install 'gamekeeper[networks]'"
        ) from error
    return load(data, where)
