"""Class Gaussians: images drawn from a normal distribution for each class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Images, Labels, Oracle, Sent, Start, duplicate


def class_gaussian(
    oracle: Oracle, start: Start, budget: int, rng: np.random.Generator
) -> Iterator[Sent]:
    """Steal with samples of Gaussians around the classes' means, the simplest of generators.

    From none of the papers. Each class has the mean and the covariance of the seeds that the victim
    finds to be of it, and as many samples as it has seeds, in proportion. With fewer seeds than
    pixels, samples are mixtures of the class's seeds; of a class with one seed, this seed.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: draws the samples.

    Yields:
        The queries of each round, as many as there are seeds.
    """
    known: tuple[Images, Labels] | None = None

    def learn(images: Images, labels: Labels) -> None:
        nonlocal known
        known = known or (images, labels)  # the seeds: later ones are samples

    def craft(images: Images, labels: Labels, wanted: int) -> NDArray[Any]:
        assert known
        rows = rng.permutation(len(known[0]))[:wanted]
        return np.stack([sample(*known, label, rng) for label in known[1][rows]])

    return duplicate(oracle, start.seeds, budget, learn, craft)


def sample(
    images: Images, labels: Labels, label: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw one image of a class, in real pixels, from `(n, ...)` images with their classes."""
    own = images[labels == label].astype(np.float64)
    mean = own.mean(axis=0)
    weights = rng.standard_normal(len(own)) / np.sqrt(max(1, len(own) - 1))
    drawn: NDArray[np.float64] = mean + np.tensordot(weights, own - mean, axes=1)
    return drawn
