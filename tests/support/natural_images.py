"""What tests of natural and data-free attacks share: digits, a victim, what a thief starts with."""

from __future__ import annotations

import functools

import numpy as np
from sklearn.datasets import load_digits

from gamekeeper.replay.theft import Attack, Images, Labels, Request, Start, quantise
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.recording import Recorder, Run, run

SMALL = Architecture((8, 8), 10, widths=(8, 16), hidden=(32,))


def digits() -> tuple[Images, Labels]:
    """Return scikit-learn's 8x8 digits with pixels 0..255, and their classes."""
    data = load_digits()
    return quantise(data.images * (255 / 16)), data.target.astype(np.int64)


@functools.cache
def victim() -> Classifier:
    """Return a model that knows the digits."""
    images, labels = digits()
    model = Classifier(SMALL, 0)
    model.fit(images[:800], labels[:800], 8)
    return model


def thief(pool: int = 300) -> Start:
    """Return a start with a pool of digits that the victim was not trained on."""
    images, labels = digits()
    return Start(images[:20], 10, images[800 : 800 + pool], labels[800 : 800 + pool])


def rob(attack: Attack, start: Start, budget: int, seed: int = 1) -> Run:
    """Run an attack against the victim."""
    return run(attack, Recorder(victim()), start, budget, np.random.default_rng(seed))


def requests(done: Run) -> list[Request]:
    """Return what the victim was asked, oldest first."""
    return [each.request for each in done.seen]


def rows_of(images: Images, pool: Images) -> list[int]:
    """Look up which row of the pool each image is; every one must be there."""
    row = {each.tobytes(): at for at, each in enumerate(pool)}
    return [row[each.tobytes()] for each in images]
