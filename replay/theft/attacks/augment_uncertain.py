"""Chosen augmentation: of many variants of the thief's images, those his copy is least sure of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.active_uncertainty import least_certain
from gamekeeper.replay.theft.craft import augment, variants
from gamekeeper.replay.theft.model import Classifier

EPOCHS = 10
"""Epochs per round, in which the substitute is trained on, as Papernot's is."""


def augment_uncertain(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    batch: int = 100,
    candidates: int = 10,
    strength: float = 1.0,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with variants of the seeds, chosen by uncertainty (Pal et al. 2020, their entropy).

    As `augment`, but each round makes `candidates` times as many variants as it sends, and sends
    those whose probabilities, as the substitute sees them, have the highest entropy: what
    ActiveThief does with a pool of natural images, by who has no pool.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0, and what is augmented.
        budget: the number of queries, seeds included.
        rng: decides initial weights, training order and the variants.
        batch: new queries per round.
        candidates: variants made for each that is sent.
        strength: of the variants, as in `augment`.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """

    def craft(model: Classifier, images: Images, labels: Labels, wanted: int) -> Images:
        size = min(batch, wanted)
        rows = rng.integers(len(start.seeds), size=candidates * size)
        made = variants(start.seeds[rows], strength, rng)
        return made[least_certain(model, made, images, size)]

    return augment(oracle, start, budget, rng, craft, epochs=epochs)
