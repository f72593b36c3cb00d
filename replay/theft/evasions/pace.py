"""Pacing: few queries per hour, so that they drown in what a service sees in between."""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.theft import Oracle, Reply, Request, Start

HOUR = 3600.0


def pace(
    oracle: Oracle, start: Start, rng: np.random.Generator, *, per_hour: float = 10.0
) -> Oracle:
    """Wait before each image, so that an account sends `per_hour` of them.

    The papers do not pace; ten an hour is less than a person at a keyboard, and makes a
    thousand queries take four days. Nothing is waited for: `Request.pause` tells the recorder.
    """

    def paced(request: Request) -> Reply:
        return oracle(request._replace(pause=HOUR / per_hour))

    return paced
