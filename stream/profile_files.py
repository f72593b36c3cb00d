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
        profile = msgspec.json.decode(path.read_bytes(), type=Profile)
    except FileNotFoundError as error:
        raise ProfileError(
            f"{path}: no such file; `gamekeeper calibrate --out` writes one"
        ) from error
    except OSError as error:
        raise ProfileError(f"{path}: cannot read the profile: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ProfileError(
            f"{path}: not a profile, or not all of one: {error}; `gamekeeper calibrate --out` "
            "writes one"
        ) from error
    if profile.schema != 1:
        raise ProfileError(f"{path}: profile schema {profile.schema}; this version reads 1")
    return resolve(profile)


def load_networks(profile: Profile, folder: Path) -> tuple[Featurizer, ...]:
    """Load the profile's networks from the files in `folder`; `ProfileError` names a faulty one."""
    return tuple(_load_network(ref, folder / ref.file) for ref in profile.networks)


def _load_network(ref: NetworkRef, path: Path) -> Featurizer:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProfileError(
            f"{path}: cannot read the network that makes {ref.feature}: {error.strerror}; a "
            "profile's networks lie beside it"
        ) from error
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        raise ProfileError(f"{path}: not the network that the profile was calibrated with")
    network = _restore(data, str(path))
    if network.name != ref.feature:
        raise ProfileError(f"{path}: makes {network.name}, not {ref.feature}")
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
