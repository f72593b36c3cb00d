"""Augmentation: the thief's own images turned, zoomed, shifted and bent at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from gamekeeper.replay.theft import Images, Oracle, Sent, Start
from gamekeeper.replay.theft.craft import rounds, variants

Order = Literal["random", "sorted"]


def augment(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    order: Order = "random",
    strength: float = 1.0,
) -> Iterator[Sent]:
    """Steal with seeds augmented as training sets are (Simard et al. 2003; Ciresan et al. 2010).

    A thief can augment his labelled images for nothing, and keep their labels; here he asks for the
    label of each variant, which is right also where a variant looks like another class.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0, and what is augmented.
        budget: the number of queries, seeds included.
        rng: draws the variants and their order.
        order: `random`, each round a variant of every seed; or `sorted`, all variants of a seed
            one after the other, in one round.
        strength: of the variants; 0.5 turns, zooms, shifts and bends half as far.

    Yields:
        The queries of each round.
    """
    made = _mixed(start.seeds, strength, rng)
    if order == "sorted":
        copies = -(-(budget - len(start.seeds)) // len(start.seeds))
        made = _sorted(start.seeds, max(1, copies), strength, rng)
    return rounds(oracle, start, budget, made)


def _mixed(seeds: Images, strength: float, rng: np.random.Generator) -> Iterator[Images]:
    while True:
        yield variants(rng.permutation(seeds), strength, rng)


def _sorted(
    seeds: Images, copies: int, strength: float, rng: np.random.Generator
) -> Iterator[Images]:
    while True:
        for image in rng.permutation(seeds):
            yield variants(image[None].repeat(copies, axis=0), strength, rng)
