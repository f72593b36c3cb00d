"""Where a training stands, kept in a folder after each epoch, so that it can go on after a stop.

`settings.json` says what is trained on what; `PHASE.safetensors` holds, for each phase begun, the
weights, the best weights so far and the optimiser's state, with the rest as JSON in its metadata.
A file is whole or absent.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from gamekeeper.schemas.errors import SettingsError, StateError
from gamekeeper.schemas.files import write_whole

_STATE = "state"


class State(msgspec.Struct):
    """How far a phase has come: held-out losses, one per epoch, and whether it has ended."""

    losses: list[float] = msgspec.field(default_factory=list)
    best: int = 0
    done: bool = False


class Checkpoint:
    """The folder of one training; `settings` is all that its result depends on."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, restart: bool = False) -> None:
        """Open or begin a checkpoint.

        Raises `SettingsError` where the folder holds one of a training with other settings.
        """
        self._folder = folder
        if restart:
            self.remove()
        wanted = msgspec.json.decode(msgspec.json.encode(settings))
        path = folder / "settings.json"
        if path.exists():
            _compare(path, wanted)
        else:
            write_whole(path, msgspec.json.format(msgspec.json.encode(wanted)))

    def save(self, phase: str, tensors: Mapping[str, Tensor], state: State) -> None:
        """Keep a phase's tensors and state in one step."""
        contiguous = {name: each.detach().cpu().contiguous() for name, each in tensors.items()}
        metadata = {_STATE: msgspec.json.encode(state).decode()}
        write_whole(self._path(phase), save(contiguous, metadata))

    def load(self, phase: str) -> tuple[dict[str, Tensor], State] | None:
        """Read what was kept of a phase; None where it has not ended an epoch."""
        path = self._path(phase)
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                state = msgspec.json.decode(file.metadata()[_STATE], type=State)
            return load_file(path), state
        except (OSError, SafetensorError, TypeError, KeyError, msgspec.MsgspecError) as error:
            raise StateError(f"{path}: damaged: {error}; begin anew with --restart") from error

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, phase: str) -> Path:
        return self._folder / f"{phase}.safetensors"


def _compare(path: Path, wanted: Mapping[str, Any]) -> None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise StateError(f"{path}: damaged: {error}; begin anew with --restart") from error
    differing = sorted(
        name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)
    )
    if differing:
        raise SettingsError(
            f"{path.parent}: holds an interrupted training with another {', '.join(differing)}; "
            "repeat its command to finish it, choose another folder, or discard it with --restart"
        )
