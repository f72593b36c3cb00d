"""COLOR: every channel of an image lighter or darker by a random amount."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gamekeeper.replay.theft import Floats, Images, Labels, Oracle, Sent, Start, duplicate

STEP = 25.0
"""The step size lambda of COLOR-25 (PRADA version 2, section IV-E)."""


def color(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    copies: int = 3,
    step: float = STEP,
) -> Iterator[Sent]:
    """Steal with COLOR (PRADA version 2, section III-C 2).

    Each round makes `copies` of every image labelled so far, with the pixels of each channel moved
    by one amount; with 3, the number of images grows fourfold, the paper's expansion factor k = 4.
    Grey images have one channel, their luminosity. No substitute is needed to make the queries.
    The paper moves grey images up or down by the step itself, of which three copies could not all
    differ, and does not say how a colour's amount is drawn: here all come evenly from -step to
    +step, so that they are half as large on average.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: draws the amounts.
        copies: new images per labelled image and round.
        step: the largest amount, in pixel values.

    Yields:
        The queries of each round.
    """

    def craft(images: Images, labels: Labels, wanted: int) -> Floats:
        pixels = images[: -(-wanted // copies)].repeat(copies, axis=0).astype(np.float32)
        channels = pixels.shape[3:]
        amounts = rng.uniform(-step, step, (len(pixels), 1, 1, *channels))
        return pixels + amounts.astype(np.float32)

    def learn(images: Images, labels: Labels) -> None:
        """Train nothing: the copies do not depend on what is learnt."""

    return duplicate(oracle, start.seeds, budget, learn, craft)
