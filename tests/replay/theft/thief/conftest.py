"""What the tests of stolen models share: a victim that knows the digits, and loot from it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from gamekeeper.replay.theft import Images, Start, quantise
from gamekeeper.replay.theft.attacks.papernot import papernot
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.recording import Loot, Recorder, run


@pytest.fixture(scope="session")
def architecture() -> Architecture:
    """Return a small network's architecture for 8x8 images."""
    return Architecture((8, 8), 10, widths=(8, 16), hidden=(32,))


@pytest.fixture(scope="session")
def digits() -> tuple[Images, NDArray[np.int64]]:
    """Return scikit-learn's 8x8 digits with pixels 0..255."""
    data = load_digits()
    return quantise(data.images * (255 / 16)), data.target.astype(np.int64)


@pytest.fixture(scope="session")
def test_images(digits: tuple[Images, NDArray[np.int64]]) -> Images:
    """Return images that neither the victim nor a thief has seen."""
    return digits[0][1200:1500]


@pytest.fixture(scope="session")
def seeds(digits: tuple[Images, NDArray[np.int64]]) -> Images:
    """Return a thief's forty natural images."""
    return digits[0][-40:]


@pytest.fixture(scope="session")
def victim(architecture: Architecture, digits: tuple[Images, NDArray[np.int64]]) -> Classifier:
    """Return a model worth stealing."""
    images, labels = digits
    model = Classifier(architecture, 0, rate=5e-3)
    model.fit(images[:1200], labels[:1200], 8)
    return model


@pytest.fixture(scope="session")
def loot(victim: Classifier, seeds: Images) -> Loot:
    """Return what Papernot's attack steals in rounds that end after 40, 80 and 120 queries."""
    return run(
        papernot, Recorder(victim), Start(seeds, 10, seeds), 120, np.random.default_rng(1)
    ).loot
