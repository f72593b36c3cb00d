"""Quality assurance, image by image: what does the model say of the same in worse quality?"""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own, shared_out
from gamekeeper.replay.honest.habits.degraded import worse


def qa_adjacent(own: Own, queries: int, rng: np.random.Generator, *, variants: int = 10) -> Inputs:
    """Send each own image and its `variants` less one, each degraded in some way."""
    _, turns = shared_out(queries, variants)
    images = own.inputs[turns].copy()
    made = np.arange(queries) % variants > 0
    images[made] = worse(images[made], rng)
    return images
