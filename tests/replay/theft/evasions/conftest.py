"""A small victim of the digits and what a thief starts with."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gamekeeper.replay.theft import Start, quantise
from gamekeeper.replay.theft.model import Architecture, Classifier


@pytest.fixture(scope="session")
def victim() -> Classifier:
    """Return a network that knows the digits."""
    images, labels = _digits()
    network = Classifier(Architecture((8, 8), 10, (8, 16), (32,)), 0)
    network.fit(images[:800], labels[:800], 10)
    return network


@pytest.fixture(scope="session")
def start() -> Start:
    """Return forty seeds of ten classes, and a labelled pool."""
    images, labels = _digits()
    seeds = np.concatenate([800 + np.flatnonzero(labels[800:] == c)[:4] for c in range(10)])
    return Start(images[seeds], 10, images[1500:1700], labels[1500:1700])


def _digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return quantise(data.images * (255 / 16)), data.target.astype(np.int64)
