"""Images with all that is known of them, in a file that several processes read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch, Featurizer
from gamekeeper.replay.theft import Images, Victim
from gamekeeper.schemas.files import whole

STEP: Final = 256
"""Queries that networks and detectors are given at once; any number gives the same."""
_OWN = ("images", "labels", "probabilities", "accounts")

Rows = NDArray[np.int64]


class Queries(NamedTuple):
    """Images that accounts send, in any order, with the victim's answers and their features."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    features: Mapping[str, NDArray[np.float32]]

    def batches(self, rows: Rows) -> Iterator[Batch]:
        """Give what one account sends, a piece at a time; `rows` are its queries in order."""
        for first in range(0, len(rows), STEP):
            part = rows[first : first + STEP]
            yield Batch(
                first,
                self.images[part],
                self.labels[part],
                self.probabilities[part],
                {name: values[part] for name, values in self.features.items()},
            )


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


def featurize(
    networks: Mapping[str, Featurizer], images: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Run networks over images, a chunk at a time, once over those that repeat."""
    numbers: dict[bytes, int] = {}
    places = [numbers.setdefault(each.tobytes(), len(numbers)) for each in images]
    different = images[np.unique(places, return_index=True)[1]]
    starts = range(0, max(1, len(different)), STEP)
    return {
        name: np.concatenate([network(different[at : at + STEP]) for at in starts])[places]
        for name, network in networks.items()
    }


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
