"""Own: whatever the account has, each once."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.honest.base import Inputs, Own


def own(own: Own, queries: int, rng: np.random.Generator) -> Inputs:
    """Send what the account has, each once."""
    return own.inputs[:queries]
