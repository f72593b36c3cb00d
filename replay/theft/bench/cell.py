"""One attack under one evasion: what the detectors said, and what the thief got."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import numpy as np

from gamekeeper.detectors.base import LIKELIHOOD, Featurizer, Floats
from gamekeeper.replay.theft import Start, Victim
from gamekeeper.replay.theft.attacks import attack
from gamekeeper.replay.theft.bench.judge import Record, judge
from gamekeeper.replay.theft.bench.pools import Queries, Rows, featurize
from gamekeeper.replay.theft.bench.rules import Watched
from gamekeeper.replay.theft.evasions import CANDID, evasion
from gamekeeper.replay.theft.recording import Loot, Recorder, Run, Seen, repeated, run
from gamekeeper.replay.theft.thief import Stolen

PLAIN = "plain"
"""The name of no evasion."""
POINTS = 100
"""Of a running mean, for a plot."""


class Key(msgspec.Struct, frozen=True, order=True):
    """Which cell: an attack, the evasion around it, and the number of the run."""

    attack: str
    evasion: str
    run: int

    def slug(self) -> str:
        """Name the cell's file."""
        return f"{self.attack}--{self.evasion}--{self.run}"


class Cell(msgspec.Struct, frozen=True):
    """The outcome of one cell.

    The attack got answers for `asked` images, `sent` arrived. `records` have, by detector, the
    queries at which its largest statistic so far grew, and to what. `caught` has, by rule, the
    number of queries sent when the first alarm came, or None, `used` the accounts that alarms
    ended. `stolen` are the thief's figures at the end, `leaked` those at the `combined` rule's
    first alarm.
    `likelihood` is the mean log-likelihood of all that was sent until each of `points(sent)`.
    """

    attack: str
    evasion: str
    run: int
    asked: int
    sent: int
    accounts: int
    over: str | None
    records: dict[str, Record]
    caught: dict[str, int | None]
    used: dict[str, int]
    stolen: Stolen
    leaked: Stolen | None
    seconds: float
    likelihood: list[float] = []


def attacked(
    key: Key,
    victim: Victim,
    start: Start,
    budget: int,
    options: Mapping[str, Mapping[str, Any]],
    plain: Run | None = None,
) -> Run:
    """Run the attack, seeded by the number of its run; `plain` is the same without evasions.

    `options` are, by evasion, what it is given beside its defaults.
    """
    act = repeated(plain) if plain and key.evasion in CANDID else attack(key.attack)
    given = options.get(key.evasion, {})
    hidden = () if key.evasion == PLAIN else (partial(evasion(key.evasion), **given),)
    rng = np.random.default_rng([key.run, 11])
    return run(act, Recorder(victim), start, budget, rng, hidden)


def queries_of(seen: tuple[Seen, ...], networks: Mapping[str, Featurizer]) -> tuple[Queries, Rows]:
    """Put together what the victim saw, and which of the thief's accounts sent each query."""
    images = np.concatenate([each.request.images for each in seen])
    queries = Queries(
        images,
        np.concatenate([each.answers.labels for each in seen]),
        np.concatenate([each.answers.probabilities for each in seen]),
        featurize(networks, images),
    )
    accounts = [np.full(len(each.answers.labels), each.request.account) for each in seen]
    return queries, np.concatenate(accounts)


def points(queries: int) -> Rows:
    """Give some numbers of queries, the last one all of them, at which a running mean is kept.

    >>> points(5).tolist(), len(points(1000)), points(1000).max().item()
    ([1, 2, 3, 4, 5], 100, 1000)
    """
    return np.unique(np.linspace(1, queries, POINTS).round().astype(np.int64))


def running_means(values: Floats) -> Floats:
    """Average `(..., n)` values up to each of `points(n)`."""
    at = points(values.shape[-1])
    means: Floats = values.cumsum(axis=-1)[..., at - 1] / at
    return means


def outcome(
    key: Key,
    done: Run,
    watched: Watched,
    networks: Mapping[str, Featurizer],
    figures: Callable[[Loot, int | None], Stolen],
    began: float,
) -> Cell:
    """Judge a run; `figures(loot, n)` says what the thief has after n queries, or at the end."""
    queries, accounts = queries_of(done.seen, networks)
    records, caught, used = judge(watched, queries, accounts)
    return Cell(
        attack=key.attack,
        evasion=key.evasion,
        run=key.run,
        asked=len(done.loot.images),
        sent=len(accounts),
        accounts=len(np.unique(accounts)),
        over=done.over,
        records=records,
        caught=caught,
        used=used,
        stolen=figures(done.loot, None),
        leaked=figures(done.loot, caught["combined"]) if caught["combined"] else None,
        seconds=time.perf_counter() - began,
        likelihood=running_means(queries.features[LIKELIHOOD][:, 0].astype(np.float64)).tolist(),
    )
