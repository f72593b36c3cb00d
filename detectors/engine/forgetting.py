"""When an account has been silent for so long that its next query is that of a new one.

Time is event time, so that a replay forgets what the live service forgot. The service deletes what
is stored of such an account some time later; whether it has done so makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from gamekeeper.detectors.engine.account import Account
from gamekeeper.detectors.engine.policy import MICROSECONDS
from gamekeeper.detectors.engine.profile import Policy
from gamekeeper.detectors.engine.stretch import Stretch


def patience(policy: Policy) -> float:
    """Say after how long a silence an account is forgotten, in microseconds."""
    return np.inf if policy.forget_after is None else policy.forget_after * MICROSECONDS


def remembered(policy: Policy, account: Account, stretch: Stretch) -> Iterator[Stretch]:
    """Cut a stretch where the account is forgotten, which happens between the parts.

    One with an open finding is not. Each part is to be taken by the account before the next is
    asked for.
    """
    for part in _parts(stretch, account.last_time, patience(policy)):
        times = part.batch.times
        known = account.queries and account.last_time
        if known and times[0] - account.last_time > patience(policy) and not account.open():
            account.forget()
        account.last_time = max(account.last_time, int(times.max()))
        if part.batch.first != account.queries:
            moved = part.batch.queries + (account.queries - part.batch.first)
            part = part.with_batch(replace(part.batch, first=account.queries, queries=moved))
        yield part


def _parts(stretch: Stretch, last_time: int, silence: float) -> Iterator[Stretch]:
    """Cut a stretch before each event that comes after a silence."""
    times, begins = stretch.batch.times, stretch.starts[:-1]
    if times.max() - last_time <= silence:
        yield stretch
        return
    latest = np.maximum.accumulate(np.maximum.reduceat(times, begins))
    after = np.flatnonzero(times[begins[1:]] - latest[:-1] > silence) + 1
    for first, end in pairwise([0, *after.tolist(), len(begins)]):
        yield stretch.part(first, end)
