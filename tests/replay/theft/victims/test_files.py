"""Victim files: what is written is what is read, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.victims import VictimError, read_victim, write_victim
from gamekeeper.schemas.errors import SettingsError

GREY = Architecture((8, 8), 3, (2, 3), (5,))
COLOUR = Architecture((9, 12, 3), 4, (2, 2), (6, 5), 0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of an untrained victim."""
    write_victim(Classifier(GREY, 0), tmp_path / "victim.safetensors")
    return tmp_path / "victim.safetensors"


def metadata(text: str, path: Path) -> Path:
    """Rewrite a victim's file with another architecture."""
    save_file(load_file(path), path, {"gamekeeper.victim": text})
    return path


@pytest.mark.parametrize("architecture", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_trained_victim_comes_back_the_same(architecture: Architecture, tmp_path: Path) -> None:
    """Architecture and answers survive, to the bit; dropout is off."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, *architecture.shape), np.uint8)
    victim = Classifier(architecture, 7)
    victim.fit(images, rng.integers(0, architecture.classes, 20), 2)
    write_victim(victim, tmp_path / "deep" / "victim.safetensors")
    again = read_victim(tmp_path / "deep" / "victim.safetensors")
    assert again.architecture == architecture
    for _ in range(2):
        np.testing.assert_array_equal(again(images).probabilities, victim(images).probabilities)


def test_the_same_victim_makes_the_same_bytes(path: Path, tmp_path: Path) -> None:
    """A file depends on nothing but the victim."""
    write_victim(Classifier(GREY, 0), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """Neither a file nor a Python name: both ways are told."""
    with pytest.raises(VictimError, match=r"gone: no such file; .*victim train.*package\.module"):
        read_victim(tmp_path / "gone")


def test_other_files_are_no_victims(tmp_path: Path) -> None:
    """Text, a folder, and safetensors of something else are refused by name."""
    (tmp_path / "text").write_text("not safetensors")
    save_file({"weights": torch.zeros(3)}, tmp_path / "other")
    for name, reason in {
        "text": "not a safetensors file",
        ".": "not a safetensors file",
        "other": "not a file of `gamekeeper victim train`",
    }.items():
        with pytest.raises(VictimError, match=reason):
            read_victim(tmp_path / name)


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"shape": [8, 8]}'])
def test_metadata_must_be_an_architecture(text: str, path: Path) -> None:
    """A field that is missing, of another type, or no JSON at all."""
    with pytest.raises(VictimError, match="not a file of `gamekeeper victim train`"):
        read_victim(metadata(text, path))


@pytest.mark.parametrize("shape", ["[8, 12]", "[8]"])
def test_weights_must_fit_the_architecture(shape: str, path: Path) -> None:
    """Metadata that promise another network, or one that cannot be."""
    text = f'{{"shape": {shape}, "classes": 3, "widths": [2, 3], "hidden": [5], "dropout": 0}}'
    with pytest.raises(VictimError, match="the weights do not fit the architecture"):
        read_victim(metadata(text, path))


def test_an_unwritable_place_is_said(path: Path) -> None:
    """The message names the file."""
    with pytest.raises(SettingsError, match=r"inside\.safetensors: cannot be written"):
        write_victim(Classifier(GREY, 0), path / "inside.safetensors")
