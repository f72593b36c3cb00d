"""What commands state before they load anything agrees with what they then load."""

from __future__ import annotations

from typing import Any

import click
import pytest

from gamekeeper.replay.cli import bench as bench_command
from gamekeeper.replay.cli import train as train_command
from gamekeeper.replay.cli.attack import OPTIONS
from gamekeeper.replay.cli.calibrate import calibrate
from gamekeeper.replay.cli.evaluate import evaluate
from gamekeeper.replay.cli.habit import OPTIONS as HABIT_OPTIONS
from gamekeeper.replay.cli.train import train
from gamekeeper.replay.cli.victim import train as train_victim
from gamekeeper.replay.honest.record import Plan as HabitPlan
from gamekeeper.replay.theft.bench.benches import BENCHES
from gamekeeper.replay.theft.bench.cell import PLAIN
from gamekeeper.replay.theft.recording import PER_CLASS
from gamekeeper.replay.theft.victims import LAYERS, VictimPlan
from gamekeeper.replay.tune.calibration import Plan
from gamekeeper.replay.tune.evaluation import BATCH
from gamekeeper.replay.tune.training import FEATURES, SCORES, TrainPlan


@pytest.mark.parametrize(
    ("command", "plan", "names"),
    [
        (train, TrainPlan(), ("size", "epochs", "held_out", "seed")),
        (train_victim, VictimPlan(), ("layers", "epochs", "held_out", "seed")),
        (calibrate, Plan(), ("alpha", "life", "held_out", "seed")),
    ],
)
def test_defaults_are_the_plans(command: click.Command, plan: Any, names: tuple[str, ...]) -> None:
    """An option that is not given has the value that the plan has by itself."""
    stated = {each.name: each.default for each in command.params}
    assert {name: stated[name] for name in names} == {name: getattr(plan, name) for name in names}


def test_other_defaults_and_choices_are_those_of_the_work() -> None:
    """So have names and numbers that no plan holds."""
    stated = {each.name: each.default for each in [*evaluate.params, *OPTIONS]}
    assert (stated["batch"], stated["seeds"]) == (BATCH, PER_CLASS)
    assert set(bench_command.BENCHES) == {*BENCHES, bench_command.HONEST}
    assert bench_command.PLAIN == PLAIN
    assert (train_command.FEATURES, train_command.SCORES) == (FEATURES, SCORES)
    of_habits = {each.name: each.default for each in HABIT_OPTIONS}
    assert [of_habits[name] for name in ("seed", "pause", "rows")] == list(HabitPlan("", 1, 1)[3:6])
    [layers] = [each.type for each in train_victim.params if each.name == "layers"]
    assert isinstance(layers, click.Choice)
    assert list(layers.choices) == list(LAYERS)
