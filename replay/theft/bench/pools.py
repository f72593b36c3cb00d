"""Images with all that is known of them, in a file that several processes read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gamekeeper.detectors.base import Featurizer
from gamekeeper.replay.theft import Images, Victim
from gamekeeper.replay.theft.bench.watch import Queries, Rows, featurize
from gamekeeper.schemas.files import whole

_OWN = ("images", "labels", "probabilities", "accounts")


class Pool(NamedTuple):
    """An npz file of images, the victim's answers, features, and `(accounts, life)` rows."""

    path: str

    def accounts(self) -> Rows:
        """Say which images each account sends, in order."""
        return load_pool(self.path)[1]

    def queries(self) -> Queries:
        """Give the images."""
        return load_pool(self.path)[0]


def make_pool(
    path: Path, images: Images, accounts: Rows, victim: Victim, networks: Mapping[str, Featurizer]
) -> Pool:
    """Ask the victim and run the networks once for each image, and write it all."""
    if not path.exists():
        answers = victim(images)
        arrays: dict[str, Any] = {
            "images": images,
            "labels": answers.labels,
            "probabilities": answers.probabilities,
            "accounts": accounts,
            **featurize(networks, images),
        }
        write_arrays(path, arrays)
    return Pool(str(path))


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an npz file as a whole: who finds it may trust it."""
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


@lru_cache(maxsize=2)
def load_pool(path: str) -> tuple[Queries, Rows]:
    """Read a pool, once per process."""
    with np.load(path, allow_pickle=False) as arrays:
        features = {name: arrays[name] for name in arrays.files if name not in _OWN}
        own = [arrays[name] for name in _OWN[:3]]
        return Queries(own[0], own[1], own[2], features), arrays["accounts"]
