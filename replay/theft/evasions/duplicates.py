"""Duplicates: exact repeats in between, so that D is mostly zeros and PRADA tests nothing else."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.theft import Images, Oracle, Reply, Request, Start
from gamekeeper.replay.theft.evasions.base import mixed

REPEATS = 10
"""The papers do not repeat; values are beyond three deviations if fewer than one in ten."""


def duplicates(
    oracle: Oracle, start: Start, rng: np.random.Generator, *, repeats: int = REPEATS
) -> Oracle:
    """Repeat an account's first image `repeats` times before each further one.

    PRADA (version 2, Algorithm 3) leaves out distances beyond three standard deviations. The
    account's first image is in the growing set of its class, so that each repeat has distance 0;
    where the attack's are alike and fewer than one in ten, they are the outliers and the rest, all
    equal, has W = 1. Natural seeds and crafted queries are not alike: alone, this puts Papernot's
    alarm on MNIST off but does not prevent it.
    """
    first: dict[int, tuple[Images, bool]] = {}

    def repeated(request: Request) -> Reply:
        before = np.full(len(request.images), repeats)
        if not len(before):
            return oracle(request)
        if request.account not in first:
            first[request.account] = request.images[:1].copy(), request.synthetic
            before[0] = 0
        image, synthetic = first[request.account]
        return mixed(
            oracle,
            request,
            before,
            lambda count: image.repeat(count, axis=0),
            start.classes,
            synthetic=synthetic,
        )

    return repeated
