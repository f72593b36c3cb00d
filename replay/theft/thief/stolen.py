"""All figures of what one thief has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from gamekeeper.replay.theft import Images, Victim
from gamekeeper.replay.theft.model import Classifier
from gamekeeper.replay.theft.recording import Loot
from gamekeeper.replay.theft.thief.agreement import NOISE, Agreement, agreement
from gamekeeper.replay.theft.thief.transfer import (
    METHODS,
    TARGETS,
    Method,
    Transfer,
    transferability,
)

Train = Callable[[Loot], Classifier]
"""Trains a substitute: `substitute.train_substitute` with all but the loot filled in."""


class Yardstick(NamedTuple):
    """What substitutes are measured against.

    `test` are images that neither the victim nor the thief has seen, `seeds` the natural images
    that adversarial examples are made from: the attack's seeds, in the paper. `noise` is how many
    images of noise there are for the random uniform agreement.
    """

    victim: Victim
    test: Images
    seeds: Images
    methods: Sequence[Method] = METHODS
    targets: int = TARGETS
    noise: int = NOISE


class Stolen(msgspec.Struct, frozen=True):
    """The substitute's figures, from the labelled `images` that it was trained on.

    `transfer` is by method. Without images, the figures are those of the untrained network, which
    agrees by chance only; an attack that asks nothing has these.
    """

    images: int
    agreement: Agreement
    transfer: dict[str, Transfer]


def stolen(loot: Loot, train: Train, yardstick: Yardstick, seed: int) -> Stolen:
    """Train a substitute on the loot and measure it; `seed` draws noise and targets."""
    thief = train(loot)
    victim, test, seeds, methods, targets, noise = yardstick
    return Stolen(
        len(loot.images),
        agreement(victim, thief, test, seed, noise),
        transferability(victim, thief, seeds, seed, methods=methods, targets=targets),
    )
