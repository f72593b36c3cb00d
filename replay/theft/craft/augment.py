"""Duplication rounds around a substitute that learns from every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Images, Labels, Oracle, Sent, Start, duplicate
from gamekeeper.replay.theft.model import Classifier, substitute

Craft = Callable[[Classifier, Images, Labels, int], NDArray[Any]]
"""From a substitute, all labelled images and their classes makes so many new ones, if it can."""


def augment(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    craft: Craft,
    *,
    epochs: int,
    optimiser: Literal["adam", "sgd"] = "adam",
    fresh: bool = False,
) -> Iterator[Sent]:
    """Train a substitute on what is labelled, craft new images with it, ask, and again.

    Between rounds the substitute is trained on (PRADA version 2, Algorithm 1) or, if `fresh`,
    initialised anew (Zhang and Wagner, Algorithm 1). It is trained for `epochs` each round.
    """
    model = substitute(start, rng, optimiser)

    def learn(images: Images, labels: Labels) -> None:
        nonlocal model
        if fresh:
            model = substitute(start, rng, optimiser)
        model.fit(images, labels, epochs)

    def craft_with_model(images: Images, labels: Labels, wanted: int) -> NDArray[Any]:
        return craft(model, images, labels, wanted)

    return duplicate(oracle, start.seeds, budget, learn, craft_with_model)
