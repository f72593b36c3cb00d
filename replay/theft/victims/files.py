"""Victim files: a classifier's weights as safetensors, its architecture in the metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.victims.error import VictimError
from gamekeeper.schemas.files import write_whole

_KEY: Final = "gamekeeper.victim"
"""The metadata's field that holds an `Architecture` as JSON."""


def write_victim(classifier: Classifier, path: Path) -> None:
    """Write a victim; `path` is always absent, the old file, or the whole new one.

    The optimiser's state is not kept. Raises `SettingsError` where it cannot be written.
    """
    weights = {
        name: each.detach().contiguous() for name, each in classifier.layers.state_dict().items()
    }
    metadata = {_KEY: msgspec.json.encode(classifier.architecture._asdict()).decode()}
    write_whole(path, save(weights, metadata))


def read_victim(path: Path) -> Classifier:
    """Read a victim; raises `VictimError`, which names the file, on anything else."""
    try:
        with safe_open(path, "pt") as file:
            stated = (file.metadata() or {})[_KEY]
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict
        fields = msgspec.json.decode(stated, type=dict[str, Any])
        values = [fields[name] for name in Architecture._fields]
        architecture = msgspec.convert(values, Architecture)
        classifier = Classifier(architecture, 0)
        classifier.layers.load_state_dict(weights)
    except FileNotFoundError as error:
        raise VictimError(
            f"{path}: no such file; make one with `gamekeeper victim train`, or name your own "
            "model as package.module:name"
        ) from error
    except (OSError, SafetensorError) as error:
        raise VictimError(f"{path}: not a safetensors file: {error}") from error
    except (KeyError, msgspec.MsgspecError) as error:
        raise VictimError(
            f"{path}: not a file of `gamekeeper victim train`; name your own model as "
            "package.module:name"
        ) from error
    except (RuntimeError, ValueError, ArithmeticError) as error:
        raise VictimError(f"{path}: the weights do not fit the architecture: {stated}") from error
    classifier.layers.eval()
    return classifier
