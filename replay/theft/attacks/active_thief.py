"""ActiveThief's loop: learn from what was labelled, choose the next images of the pool, ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.random_images import ask_in_parts
from gamekeeper.replay.theft.model import Classifier, substitute

INITIAL = 0.1
"""The share of the budget that goes into random images first (Pal et al. 2020, "Training regime").
Another 20 % of the paper's are random, too: those that it holds back, see `EPOCHS`."""
ROUNDS = 10
"""Rounds that the rest is chosen in (ibid.)."""
EPOCHS = 50
"""Epochs per round. The paper trains for up to 1,000 and stops by images that it pays for and
holds back; a fixed number needs none, and is what the other attacks here train for."""

Choose = Callable[[Classifier, Images, Images, int], NDArray[np.int64]]
"""Given the substitute, the images that can be chosen `(n, ...)`, those labelled so far `(m, ...)`
and a number k of at most n: the `(k,)` rows that are asked next, in this order."""


def active_thief(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    epochs: int,
    choose: Choose,
) -> Iterator[Sent]:
    """Steal with ActiveThief (Pal et al. 2020; Zhang and Wagner, section III-C).

    Round 0 is random images of the pool; then, `ROUNDS` times, a substitute is trained from
    scratch for `epochs` on the labels so far and `choose` says what to ask next. There are more
    rounds where an evasion leaves images out. Ends early where the pool has fewer images than the
    budget: none is asked twice.
    """
    rest = rng.permutation(len(start.pool))
    images, labels = start.pool[:0], np.zeros(0, np.int64)
    planned = sizes(min(budget, len(rest)))
    for number, part in enumerate(chain(planned, repeat(max(1, planned[-1])))):
        size = min(part, budget - len(images), len(rest))
        if number >= len(planned) and not size:
            return
        rows = np.arange(size)
        if len(images) and size:
            model = _learned(start, rng, images, labels, epochs)
            rows = choose(model, start.pool[rest], images, size)
        for sent in ask_in_parts(oracle, start.pool[rest[rows]], number):
            yield sent
            images = np.concatenate([images, sent.images])
            labels = np.concatenate([labels, sent.answers.labels])
        rest = np.delete(rest, rows)


def sizes(budget: int) -> list[int]:
    """Split a budget over the random round and the chosen ones, as evenly as it goes."""
    ends = np.linspace(max(budget * INITIAL, min(budget, 1)), budget, ROUNDS + 1)
    return [int(size) for size in np.diff(np.rint(ends).astype(np.int64), prepend=0)]


def _learned(
    start: Start, rng: np.random.Generator, images: Images, labels: Labels, epochs: int
) -> Classifier:
    model = substitute(start, rng)
    model.fit(images, labels, epochs)
    return model
