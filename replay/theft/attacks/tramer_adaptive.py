"""Tramer's adaptive retraining: the random images that the substitute is least sure of."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np

from gamekeeper.replay.theft import Images, Oracle, Sent, Start, ask
from gamekeeper.replay.theft.model import Classifier, substitute

ROUNDS = 10
"""PRADA version 2 does not say; enough for the substitute's border to settle."""
CANDIDATES = 10
"""Random images per query to choose from; the paper does not say."""
EPOCHS = 10
"""Epochs per round; the paper does not say, this is Papernot's short training."""


def tramer_adaptive(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    rounds: int = ROUNDS,
    candidates: int = CANDIDATES,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with adaptive retraining (PRADA version 2, section II-F 1).

    As in Tramer et al. (2016, section 6.1), the budget is divided evenly over the rounds. The
    first asks uniform noise; each further one trains the substitute on all that is labelled and
    asks, of many noise images, those closest to its decision border: where its two likeliest
    classes differ least in probability.

    Args:
        oracle: the way to the model that is stolen.
        start: only the shape of its seeds is used.
        budget: the number of queries.
        rng: draws the noise, decides initial weights and training order.
        rounds: the number of rounds, the first one included; more where an evasion leaves images
            out.
        candidates: noise images per query that a round chooses from.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """
    shape = start.seeds.shape[1:]
    model = substitute(start, rng)
    images, labels = np.zeros((0, *shape), np.uint8), np.zeros(0, np.int64)
    size = -(-budget // rounds)
    for number in count():
        size = min(size, budget - len(images))
        if not size:
            return
        if number and len(images):
            model.fit(images, labels, epochs)
        pool = size * (candidates if number else 1)
        noise = rng.integers(0, 256, (pool, *shape), dtype=np.uint8)
        unsure = _least_sure(model, noise, size) if number else noise
        sent = ask(oracle, unsure, synthetic=True, round=number)
        images = np.concatenate([images, sent.images])
        labels = np.concatenate([labels, sent.answers.labels])
        yield sent


def _least_sure(model: Classifier, images: Images, size: int) -> Images:
    """Choose the images with the smallest margin between the two likeliest classes."""
    second, first = np.sort(model(images).probabilities, axis=1)[:, -2:].T
    return images[np.argsort(first - second, kind="stable")[:size]]
