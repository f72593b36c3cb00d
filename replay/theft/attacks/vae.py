"""VAE: samples of a generator that has learnt what the thief's own images look like."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Literal

import numpy as np

from gamekeeper.replay.theft import Images, Oracle, Sent, Start
from gamekeeper.replay.theft.craft import VariationalAutoEncoder, rounds
from gamekeeper.schemas.errors import SettingsError

EPOCHS = 100
"""Epochs of the auto-encoder, on the thief's images: seconds for a thousand digits."""


def vae(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    images: Literal["pool", "seeds"] = "pool",
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with samples of a variational auto-encoder (Kingma and Welling 2014).

    It learns from the thief's `images` before he asks anything. None of them is sent but the seeds,
    and each sample is a new one.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0; its pool, or they, are what is learnt from.
        budget: the number of queries, seeds included.
        rng: decides the auto-encoder's weights, training order and samples.
        images: what it learns from, `pool` or `seeds`.
        epochs: of the auto-encoder's training.

    Yields:
        The queries of each round, as many as there are seeds.

    Raises:
        SettingsError: the pool is what it should learn from, and there is none.
    """
    own = start.pool if images == "pool" else start.seeds
    if not len(own):
        raise SettingsError("vae learns from the pool: give the thief one, or --set images=seeds")
    return _steal(oracle, start, budget, own, int(rng.integers(2**31)), epochs)


def _steal(
    oracle: Oracle, start: Start, budget: int, own: Images, seed: int, epochs: int
) -> Iterator[Sent]:
    generator = VariationalAutoEncoder(own.shape[1:], seed)
    generator.fit(own, epochs)
    samples = (generator.draw(len(start.seeds)) for _ in count())
    yield from rounds(oracle, start, budget, samples)
