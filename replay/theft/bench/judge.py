"""What the detectors of a bench say of an attack: statistics, first alarms, accounts used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.engine import Account, DetectorProfile, Profile
from gamekeeper.replay.theft.bench.pools import Queries, Rows
from gamekeeper.replay.theft.bench.rules import Watched, label, limits
from gamekeeper.replay.tune.evaluation import Retirement

Record = tuple[list[int], list[float]]
"""After how many queries the largest value so far grew, and to what."""


def judge(
    watched: Watched, queries: Queries, accounts: Rows
) -> tuple[dict[str, Record], dict[str, int | None], dict[str, int]]:
    """Give records by detector; first alarms and accounts used by rule.

    `accounts` `(n,)` numbers the sender of each query.
    """
    found = scores(watched.detectors, queries, accounts)
    records = {name: record(values) for name, values in found.items()}
    senders = _senders(accounts)
    caught, used = {}, {}
    for name, rule in watched.rules.items():
        hits = [first_above(records[each], limit) for each, limit in limits(rule).items()]
        caught[name] = min((each for each in hits if each is not None), default=None)
        used[name] = 0
        if caught[name] is not None:
            for rows in senders:
                own = {each: values[rows] for each, values in found.items()}
                used[name] += retired(rule, queries.batches(rows), own)
    return records, caught, used


def scores(
    detectors: Mapping[str, DetectorProfile], queries: Queries, accounts: Rows
) -> dict[str, Floats]:
    """Give, after each query in the order of sending, the statistics of its account."""
    found = {name: np.empty(len(accounts)) for name in detectors}
    for rows in _senders(accounts):
        for name, values in statistics(detectors, queries.batches(rows)).items():
            found[name][rows] = values
    return found


def _senders(accounts: Rows) -> list[Rows]:
    return [np.flatnonzero(accounts == each) for each in np.unique(accounts)]


def statistics(
    detectors: Mapping[str, DetectorProfile], batches: Iterable[Batch]
) -> dict[str, Floats]:
    """Give each detector's statistic after each of one account's queries, NaN before it is ready.

    Each is watched in a profile of its own, as one names a detector only once.
    """
    accounts = {
        name: Account(Profile(name=name, detectors=(each,))) for name, each in detectors.items()
    }
    parts = {name: [np.empty(0)] for name in detectors}
    for batch in batches:
        for name, each in detectors.items():
            parts[name].append(accounts[name].update(batch)[each.detector])
    return {name: np.concatenate(values) for name, values in parts.items()}


def retired(rule: Profile, batches: Iterable[Batch], found: Mapping[str, Floats]) -> int:
    """Count the accounts of a sender whom every alarm of a rule makes take a new one.

    `found` has by label the `(n,)` statistics of the sender's `n` queries, were he never retired.
    """
    retirement = Retirement(rule, [each.detector for each in rule.detectors])
    for batch in batches:
        part = slice(batch.first, batch.first + len(batch))
        own = {each.detector: found[label(each)][part] for each in rule.detectors}
        retirement.feed(batch, own)
    return retirement.alarms


def record(values: Floats) -> Record:
    """Say after how many queries the largest value so far grew, and to what.

    >>> record(np.array([np.nan, 0.5, 0.25, 1.0]))
    ([2, 4], [0.5, 1.0])
    """
    ready = np.flatnonzero(~np.isnan(values))
    highest = np.maximum.accumulate(values[ready])
    new = np.diff(highest, prepend=-np.inf) > 0
    return (ready[new] + 1).tolist(), highest[new].tolist()


def first_above(record: Record, limit: float) -> int | None:
    """Say after how many queries a statistic was above a limit.

    >>> first_above(([2, 4], [0.5, 1.0]), 0.5), first_above(([2], [0.5]), 1.0)
    (4, None)
    """
    return next((at for at, value in zip(*record, strict=True) if value > limit), None)
