"""What `novelty` knows of honest accounts: their habits, learned from accounts set apart.

Accounts that teach habits are near to them as no other account is, so they choose no threshold: of
those that calibrate, half teach and half judge. Each account gives what its detectors say after
every tenth query. Of all that, `POINTS` are kept that leave none far away: each the farthest from
those before it (Gonzalez, 1985: no choice of so many leaves the farthest less than half as far).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.catalog import DETECTORS
from gamekeeper.detectors.engine import Account, DetectorProfile, Profile, resolve, with_features
from gamekeeper.detectors.novelty import MOST, Habits, Novelty, filled, written
from gamekeeper.replay.traces import Life, TraceStore
from gamekeeper.replay.tune.calibration.account_rule import split
from gamekeeper.replay.tune.calibration.maxima import first_queries
from gamekeeper.replay.tune.calibration.remembering import remembering_networks
from gamekeeper.replay.tune.evaluation import BATCH, Shard, shard
from gamekeeper.replay.tune.processes import over
from gamekeeper.schemas.errors import ProfileError

TEACHING: Final = Fraction(1, 2)
"""The share of the accounts that calibrate which teach habits instead."""
EVERY: Final = 10
"""Queries from one look at an account to the next: statistics over windows change slowly."""
ALONE: Final = ("theft", "load")
"""Kinds of evidence that are judged alone."""
POINTS: Final = 256
"""Points that are kept. On digits, 128 miss a third of what all points find, 512 find no more."""


def learns(profile: Profile) -> bool:
    """Say whether habits are to be learned for a profile's `novelty`."""
    return any(
        each.detector == Novelty.name and not each.options.get("habits")
        for each in profile.detectors
    )


def read_by_novelty(profile: Profile) -> list[DetectorProfile]:
    """Give the detectors that `novelty` is to read: those whose evidence is of what is sent.

    Theft is judged alone, as no habit looks like it; and so is load, which says nothing of what is
    sent. Raises `ProfileError` where there are too few or too many.
    """
    found = [
        each
        for each in profile.detectors
        if each.detector != Novelty.name and DETECTORS[each.detector].kind not in ALONE
    ]
    if not 2 <= len(found) <= MOST:
        raise ProfileError(
            f"novelty reads two to {MOST} detectors of variants or other data, and there are "
            f"{len(found)}: name them with --detector"
        )
    return found


def teaching(lives: Sequence[Life], seed: int) -> list[bool]:
    """Say of each life that calibrates whether it teaches habits instead."""
    return split(lives, TEACHING, seed)


def learn(
    profile: Profile,
    store: TraceStore,
    lives: Sequence[Life],
    queries: int,
    *,
    networks: Path,
    jobs: int = 1,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Profile:
    """Learn `novelty`'s habits from the first `queries` of each life; what it reads alarms no more.

    `advance` is told the lives read so far and in all. Raises `ProfileError` where what it is to
    read says nothing of any account.
    """
    read = tuple(msgspec.structs.replace(each, threshold=None) for each in read_by_novelty(profile))
    bare = msgspec.structs.replace(profile, detectors=read)
    found: list[tuple[int, list[Floats]]] = []
    done = 0
    for each in over(
        partial(_read_shard, store.folder, bare, networks, queries), shard(lives), jobs, here=True
    ):
        found.append((each[0].number, each[1]))
        done += len(each[1])
        advance(done, len(lives))
    looks = [one for _, part in sorted(found, key=itemgetter(0)) for one in part]
    option = written(habits([each.detector for each in read], looks))
    unset = {each.detector: each for each in read}
    taught = DetectorProfile(detector=Novelty.name, options={"habits": option})
    detectors = tuple(
        taught if each.detector == Novelty.name else unset.get(each.detector, each)
        for each in profile.detectors
    )
    return resolve(msgspec.structs.replace(profile, detectors=detectors))


def _read_shard(
    folder: Path, profile: Profile, networks: Path, queries: int, part: Shard
) -> list[Floats]:
    store = TraceStore(folder)
    featurizers = remembering_networks(profile, networks)
    return [
        looks(
            profile,
            (
                with_features(featurizers, batch)
                for batch in first_queries(store.stretches(life, BATCH), queries)
            ),
            queries,
        )
        for life in part.lives
    ]


def looks(profile: Profile, batches: Iterable[Batch], queries: int) -> Floats:
    """Let a new account take a life; give `(n, m)` statistics after every tenth of its queries.

    What the last batch has beyond the first `queries` is left aside.
    """
    account = Account(profile)
    parts = [np.column_stack(list(account.update(batch).values())) for batch in batches]
    return filled(np.concatenate(parts))[EVERY - 1 : queries : EVERY]


def habits(reads: Sequence[str], looks: Sequence[Floats]) -> Habits:
    """Choose scale and points from accounts' `(n, m)` statistics; raises `ProfileError`.

    A detector's scale is by how much its statistic wanders in the second half of an account's life,
    in the median of accounts: what lies between accounts is for the points to tell.
    """
    rows = np.concatenate([*looks, np.empty((0, len(reads)))])
    silent = [
        name for name, column in zip(reads, rows.T, strict=True) if not np.isfinite(column).any()
    ]
    if silent:
        raise ProfileError(
            f"novelty cannot learn from {', '.join(silent)}, which is never ready in any account: "
            "use a longer --life, or leave it out with --detector"
        )
    wander = np.array([_wander(each) for each in looks])
    scale = np.array([_middle(column[column > 0], 1.0) for column in wander.T])
    middle = np.array([_middle(column, 0.0) for column in rows.T])
    unscaled = Habits(tuple(reads), middle, scale, np.zeros((1, len(reads))))
    return unscaled._replace(points=_spread(unscaled.scaled(rows)))


def _middle(values: Floats, otherwise: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else otherwise


def _wander(statistics: Floats) -> Floats:
    """Give the deviation of each column in its second half, 0 where nothing is known of it."""
    half = np.ma.masked_invalid(statistics[len(statistics) // 2 :])
    deviation: Floats = np.ma.filled(half.std(axis=0), 0.0)
    return deviation


def _spread(rows: Floats) -> Floats:
    """Choose points, the first nearest to the middle, then each the farthest from those before."""
    chosen = [int(np.square(rows).sum(axis=1).argmin())]
    apart = np.full(len(rows), np.inf)
    while len(chosen) < POINTS:
        apart = np.minimum(apart, np.square(rows - rows[chosen[-1]]).sum(axis=1))
        farthest = int(apart.argmax())
        if not apart[farthest]:
            break
        chosen.append(farthest)
    points: Floats = rows[chosen]
    return points
