"""What honest customers do is of low severity where it is declared, and is not where it is not."""

from __future__ import annotations

from functools import cache

import msgspec
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from gamekeeper.detectors.base import Batch, Featurizer
from gamekeeper.detectors.engine import (
    Account,
    DeclaredHabit,
    Profile,
    Source,
    Stretch,
    override,
    resolve,
    score,
    with_features,
)
from gamekeeper.detectors.engine.habits import EXPLAINS
from gamekeeper.replay.honest import Own
from gamekeeper.replay.honest.record import Plan, sent
from gamekeeper.replay.tune.calibration import SHIPPED
from gamekeeper.schemas.verdict import Verdict
from gamekeeper.stream.profile_files import load_networks, load_profile

QUERIES = 250
PACE = 100_000  # microseconds from one query to the next
HABITS = {
    "load-test": ("probe", "load test"),
    "lime-many": ("explainer",),
    "occlusion": ("explainer",),
    "other-scanner": ("other camera",),
    "other-pen": ("other camera",),
}
"""What `gamekeeper habit` sends, and as what it may be declared."""


@cache
def watching() -> tuple[Profile, tuple[Featurizer, ...]]:
    """The sample's profile, without its slowest detector, and with two more."""
    shipped = load_profile(SHIPPED)
    names = ["similarity", "likelihood", "steps", "rate"]
    return override(shipped, ["rate.threshold=20"], names), load_networks(shipped, SHIPPED.parent)


@cache
def own() -> Own:
    """The digits of the sample's honest customers."""
    table = pq.read_table(SHIPPED.with_name("digits.parquet"))
    benign = table.filter(pc.equal(table["kind"], "benign"))
    pixels = [np.frombuffer(each, np.uint8) for each in benign["tensor"].to_pylist()]
    images, places = np.unique(np.stack(pixels), axis=0, return_index=True)
    return Own(images.reshape(-1, 28, 28), benign["label"].to_numpy()[places])


@cache
def queries(name: str) -> Batch:
    """Give what an account of a habit sends, with answers that are as good as any, and features."""
    inputs = sent(Plan(name, 1, QUERIES), own(), 0)
    answers = np.random.default_rng(0).normal(size=(28 * 28, 10))
    labels = (inputs.reshape(QUERIES, -1) @ answers).argmax(axis=1)
    return with_features(watching()[1], Batch(0, inputs, labels, times=np.arange(QUERIES) * PACE))


def verdicts(name: str, habit: str, budget: int = QUERIES) -> list[Verdict]:
    """Judge the account, with a habit declared or none."""
    terms = {"account": "ada", "owner": "Kim", "until": "1970-01-02", "budget": budget}
    habits = (DeclaredHabit(habit=habit, **terms),) if habit else ()
    profile = resolve(msgspec.structs.replace(watching()[0], habits=habits))
    ends = np.array([0, QUERIES])
    stretch = Stretch(("ada", "digits"), queries(name), [Source("queries", 0, 0)], ends)
    return score(profile, Account(profile), stretch).verdicts[0]


def others(found: list[Verdict], habit: str) -> list[tuple[str, int, str]]:
    """Give the changes of findings that a habit does not explain."""
    return [
        (each.detector, each.query, each.severity)
        for each in found
        if each.kind not in EXPLAINS[habit]
    ]


@pytest.mark.parametrize(
    ("name", "habit"), [(name, habit) for name, habits in HABITS.items() for habit in habits]
)
def test_declared_habits_are_low_within_their_budget(name: str, habit: str) -> None:
    """And medium or worse undeclared; what the habit does not explain is as it is for anybody."""
    plain, held = verdicts(name, ""), verdicts(name, habit)
    explained = EXPLAINS[habit]
    opened = {each.severity for each in plain if each.kind in explained}
    assert opened
    assert "low" not in opened
    assert {each.severity for each in held if each.kind in explained} == {"low"}
    assert others(held, habit) == others(plain, habit)


def test_beyond_its_budget_it_is_as_severe_as_anybody() -> None:
    """What was held at low is what it would have been, and the broken budget is told."""
    plain = {each.detector: each.severity for each in verdicts("lime-many", "")}
    beyond = {each.detector: each.severity for each in verdicts("lime-many", "explainer", 249)}
    assert beyond == plain | {"declared": "medium"}
