"""A victim by its name on a command line: a file, or an object of the user's own code."""

from __future__ import annotations

import hashlib
import importlib
import sys
from functools import reduce
from pathlib import Path
from typing import Any

from torch import nn

from gamekeeper.replay.theft import Images, Victim
from gamekeeper.replay.theft.model import Classifier
from gamekeeper.replay.theft.victims.callables import of_callable, of_module
from gamekeeper.replay.theft.victims.error import VictimError
from gamekeeper.replay.theft.victims.files import read_victim


def victim(name: str) -> Victim:
    """Find a victim: a file of `gamekeeper victim train`, or `package.module:name`.

    The latter is any callable as `of_callable` takes it, or a torch module, which is given images
    as `of_module` does by default (0..1, channels first). The module is looked for in the working
    directory, too, and imported, which runs its code. Raises `VictimError`.
    """
    if ":" not in name or Path(name).exists():
        return read_victim(Path(name))
    found = _import(name)
    if isinstance(found, type) or not callable(found):
        raise VictimError(
            f"{name} is {'a class' if isinstance(found, type) else 'no callable'}; name a torch "
            "module or a function of images"
        )
    if isinstance(found, nn.Module):
        return of_module(found)
    return found if isinstance(found, Classifier) else of_callable(found)


def classes_of(model: Victim, images: Images) -> int:
    """Count a victim's classes, by asking it about one image.

    Raises `VictimError` where it says that it takes images of another shape.
    """
    given = images.shape[1:]
    if isinstance(model, Classifier) and model.architecture.shape != given:
        wanted = _sides(model.architecture.shape)
        raise VictimError(f"the victim takes images of {wanted}, the data are {_sides(given)}")
    return len(model(images[:1]).probabilities[0])


def identity(name: str) -> str:
    """Tell victims apart: a file by its content's SHA-256, else the name itself."""
    path = Path(name)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else name


def _import(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a console command does not look there by itself
    try:
        return reduce(getattr, attribute.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise VictimError(f"{name}: cannot be imported as package.module:name: {error}") from error


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
