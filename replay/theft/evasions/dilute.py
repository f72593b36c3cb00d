"""Dilution: the attack's queries hide among natural ones."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.theft import Oracle, Reply, Request, Start
from gamekeeper.replay.theft.evasions.base import Naturals, mixed
from gamekeeper.schemas.errors import SettingsError

SHARE = 0.75
"""Three natural images per query. The papers do not dilute; this costs the thief as much as the
cheapest dummy queries of PRADA version 2, Table IX (+300 %)."""


def dilute(
    oracle: Oracle, start: Start, rng: np.random.Generator, *, share: float = SHARE
) -> Oracle:
    """Mix images of the pool in, so that they are `share` (0 to below 1) of all that is sent.

    They come at random places before and between the attack's images. The pool is sent in random
    order and begins again when it is used up: a small one gives the thief away by its repeats.
    Raises `SettingsError` where there is no pool, and on another share.
    """
    if not 0.0 <= share < 1.0:
        raise SettingsError(f"share is {share}: give a number from 0 to below 1")
    naturals = Naturals(start, rng)
    owed = 0.0

    def diluted(request: Request) -> Reply:
        nonlocal owed
        n = len(request.images)
        owed += n * share / (1.0 - share)
        extras = int(owed + 1e-9)  # what binary fractions lose must not hold an image back
        owed -= extras
        before = rng.multinomial(extras, np.full(n, 1 / max(n, 1)))
        return mixed(oracle, request, before, naturals.take, start.classes, synthetic=False)

    return diluted
