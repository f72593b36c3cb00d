"""LIME: which parts of an image matter? The same image, ever with other parts hidden."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.honest.base import Inputs, Own, shared_out
from gamekeeper.replay.honest.patches import hidden, patches


def lime(own: Own, queries: int, rng: np.random.Generator, *, images: int = 1) -> Inputs:
    """Explain so many own `images`, one after the other, with as many samples for each.

    Ribeiro et al., "Why should I trust you?", section 3.3: of an image's parts a random number is
    kept, which parts is random, too; those hidden have their mean colour. Parts are squares here.
    """
    _, turns = shared_out(queries, -(-queries // images))
    squares = patches(own.inputs.shape[1:])
    keep = np.stack([_sample(len(squares), rng) for _ in range(queries)])
    return hidden(own.inputs[turns], squares, ~keep)


def _sample(parts: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    kept = np.zeros(parts, np.bool_)
    kept[rng.permutation(parts)[: rng.integers(1, parts + 1)]] = True
    return kept
