"""Accounts of one habit, with the answers of a model, as events of a trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from gamekeeper.replay.honest.base import Habit, Inputs, Own
from gamekeeper.replay.honest.catalog import HABITS, habit
from gamekeeper.replay.theft import Victim
from gamekeeper.replay.theft.options import converted
from gamekeeper.replay.theft.recording import Asked, cut
from gamekeeper.replay.theft.recording.trace import OPENING, SECOND
from gamekeeper.schemas.errors import TraceError

BENIGN: Final = "benign"
"""The kind of these traces: what `gamekeeper calibrate` and `profile verify` read."""


class Plan(NamedTuple):
    """What the accounts of a habit depend on besides their data, as plain values.

    `pause` are the seconds between two of an account's queries, in the mean; `sets` holds options
    as texts; `rows` is how many queries an event has at most.
    """

    habit: str
    accounts: int
    queries: int
    seed: int = 0
    pause: float = 1.0
    rows: int = 16
    sets: Mapping[str, str] = {}


def check(plan: Plan, own: Own) -> Habit:
    """Find the habit with its options; say what the data lack.

    Raises `UnknownNameError` and `SettingsError` where the plan names what there is not, and
    `TraceError` where the data are too few or not of the kind that the habit takes.
    """
    found = habit(plan.habit)
    takes = HABITS[plan.habit].takes
    there = "rows" if own.inputs.ndim == 2 else "images"
    if takes not in ("any", there):
        raise TraceError(
            f"{plan.habit} is a habit of {takes}, the data are {there}; `gamekeeper habit list` "
            "says what each takes"
        )
    if len(own.labels) < plan.queries:
        raise TraceError(
            f"{len(own.labels)} distinct inputs for accounts of {plan.queries} queries: give more "
            f"data, or --queries {len(own.labels)}"
        )
    return partial(found, **converted(found, plan.sets, plan.habit))


def sent(plan: Plan, own: Own, number: int) -> Inputs:
    """Make what an account sends: `(queries, *shape)`, the same for the same number."""
    rng = np.random.default_rng([plan.seed, number])
    order = rng.permutation(len(own.labels))
    mine = Own(own.inputs[order], own.labels[order])
    return check(plan, own)(mine, plan.queries, rng)


def asked(plan: Plan, own: Own, victim: Victim, number: int, trace: str) -> Iterator[Asked]:
    """Give one account's events, answered; each has the time of its last query."""
    inputs = sent(plan, own, number)
    rng = np.random.default_rng([plan.seed, number, 1])
    gaps = rng.exponential(plan.pause, plan.queries)
    times = OPENING + (gaps.cumsum() * SECOND).astype(np.int64)
    at = 0
    for part, answers in cut(inputs, victim(inputs), plan.rows):
        at += len(part)
        yield Asked(
            int(times[at - 1]), f"{plan.habit}-{number + 1}", trace, BENIGN, part, answers, False, 0
        )


def describe(plan: Plan) -> dict[str, Any]:
    """Say, in JSON's types, what was recorded."""
    entry = HABITS[plan.habit]
    return {
        "habit": plan.habit,
        "family": entry.family,
        "accounts": plan.accounts,
        "queries": plan.accounts * plan.queries,
        "seed": plan.seed,
        "options": {**entry.listed.options, **plan.sets},
    }
