"""Profiles with networks go through Kafka and come back as the engines that they were."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from gamekeeper.detectors.engine import DetectorProfile, Engine, Profile
from gamekeeper.detectors.networks import build, dump
from gamekeeper.replay.cli.profile import profile as command
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.order import decode_profile_order
from gamekeeper.stream.announcing import announce, fetch, publish
from gamekeeper.stream.kafka import Settings, apply, write_contents
from gamekeeper.stream.kafka.contents import PIECE
from gamekeeper.stream.profile_files import load_networks, load_profile
from support.workers import read

pytestmark = pytest.mark.broker

SPEC: dict[str, Any] = {
    "kind": "conv-encoder",
    "shape": [16, 16],
    "channels": [8, 16],
    "hidden": 512,
    "dimensions": 8,
}


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Settings of the test's own topics, which are made."""
    settings = Settings.from_env({**environ, "GAMEKEEPER_PARTITIONS": "4"})
    apply(settings)
    return settings


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A profile with a network that is larger than a record."""
    torch.manual_seed(0)
    data = dump(build(SPEC), SPEC)
    assert len(data) > PIECE
    (tmp_path / "encoder.safetensors").write_bytes(data)
    ref = {
        "feature": "embedding",
        "file": "encoder.safetensors",
        "sha256": sha256(data).hexdigest(),
    }
    detector = {"detector": "similarity", "options": {"delta": 0.1}, "threshold": 50.5}
    content = {"name": "mine", "detectors": [detector], "networks": [ref]}
    (tmp_path / "profile.json").write_text(json.dumps(content))
    return tmp_path / "profile.json"


def test_a_profile_is_told_to_every_partition_and_comes_back(
    settings: Settings, path: Path
) -> None:
    """Its engine says of images what the files' does, bit for bit; a network is loaded once."""
    profile = load_profile(path)
    places = announce(settings, profile, path.parent)
    orders = read(settings, settings.topics.queries)
    assert sorted(places) == sorted((each.partition, each.offset) for each in orders)
    assert [place.partition for place in places] == [0, 1, 2, 3]
    for each in orders:
        order = decode_profile_order(each.value)
        assert (order.app, order.profile) == (settings.app_id, profile.hash)
    engine = fetch(settings, [profile.hash], {})[profile.hash]
    assert isinstance(engine, Engine)
    assert engine.profile == profile
    [network] = engine.featurizers
    [mine] = load_networks(profile, path.parent)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    assert network(images).tobytes() == mine(images).tobytes()
    again = fetch(settings, [profile.hash], {network.sha256: network})[profile.hash]
    assert isinstance(again, Engine)
    assert again.featurizers[0] is network


def test_the_command_says_where_a_profile_rules(
    settings: Settings, path: Path, environ: dict[str, str]
) -> None:
    """Partition by partition, also the second time; a file that is no profile is refused."""
    for offset in ("0", "1"):
        result = CliRunner().invoke(command, ["announce", str(path)], env=environ)
        assert result.exit_code == 0, result.output
        rows = [line.split() for line in result.output.splitlines()]
        assert [row for row in rows if len(row) == 2] == [[str(n), offset] for n in range(4)]
        assert f"profile mine ({load_profile(path).hash}) is announced" in result.output
    path.write_text("{}")
    result = CliRunner().invoke(command, ["announce", str(path)], env=environ)
    assert isinstance(result.exception, ProfileError)
    assert len(read(settings, settings.topics.queries)) == 8


def unusable(settings: Settings, profile: Profile) -> str:
    """Fetch what cannot be used; give the reason."""
    error = fetch(settings, [profile.hash], {})[profile.hash]
    assert isinstance(error, ProfileError)
    return str(error)


def test_what_cannot_be_used_is_said(settings: Settings, path: Path) -> None:
    """Not published; without its network; without a threshold; not a profile at all."""
    profile = load_profile(path)
    assert "is not in topic" in unusable(settings, profile)
    write_contents(settings, {profile.hash: profile.canonical})
    assert f"network {profile.networks[0].sha256}" in unusable(settings, profile)
    publish(settings, profile, path.parent)
    assert isinstance(fetch(settings, [profile.hash], {})[profile.hash], Engine)
    silent = Profile(name="silent", detectors=(DetectorProfile(detector="rate"),))
    write_contents(settings, {silent.hash: silent.canonical})
    assert "has no threshold" in unusable(settings, silent)
    data = b'{"name": "no profile"}'
    key = sha256(data).hexdigest()[:16]
    write_contents(settings, {key: data})
    assert "not a profile" in str(fetch(settings, [key], {})[key])


def test_what_cannot_be_used_is_not_announced(settings: Settings, path: Path) -> None:
    """Nothing is written where the network is missing or another one, or a threshold is."""
    profile = load_profile(path)
    file = path.parent / "encoder.safetensors"
    file.write_bytes(file.read_bytes() + b"?")
    with pytest.raises(ProfileError, match="not the network"):
        announce(settings, profile, path.parent)
    file.unlink()
    with pytest.raises(ProfileError, match="cannot read the network"):
        announce(settings, profile, path.parent)
    assert not read(settings, settings.topics.queries)
    assert "is not in topic" in unusable(settings, profile)
