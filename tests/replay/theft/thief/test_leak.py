"""Is the leak what the thief had when he was caught?"""

from __future__ import annotations

from functools import partial

import msgspec
import numpy as np
import pytest

from gamekeeper.replay.theft import Images
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.recording import Loot
from gamekeeper.replay.theft.thief import (
    Hyperparameters,
    Stolen,
    Yardstick,
    stolen,
    train_substitute,
    until,
)
from gamekeeper.replay.theft.thief.agreement import agreement
from gamekeeper.replay.theft.thief.stolen import Train
from gamekeeper.replay.theft.thief.transfer import transferability


@pytest.fixture(scope="module")
def train(architecture: Architecture) -> Train:
    """Return a thief's way to train."""
    quick = Hyperparameters("adam", 1e-2, 20)
    return partial(
        train_substitute, strategy="same", architecture=architecture, seed=2, victim=quick
    )


@pytest.fixture(scope="module")
def yardstick(victim: Classifier, test_images: Images, seeds: Images) -> Yardstick:
    """Return a yardstick with one method and few targets."""
    return Yardstick(victim, test_images, seeds, methods=["mi-fgsm"], targets=2)


def test_all_figures_are_of_one_substitute(loot: Loot, train: Train, yardstick: Yardstick) -> None:
    """What is told of a loot is what each measure tells of the substitute trained on it."""
    thief = train(loot)
    victim, test, seeds, methods, targets, _ = yardstick
    found = stolen(loot, train, yardstick, 4)
    assert found.images == 120
    assert found.agreement == agreement(victim, thief, test, 4)
    assert found.transfer == transferability(
        victim, thief, seeds, 4, methods=methods, targets=targets
    )


@pytest.mark.parametrize(("caught_after", "images"), [(0, 0), (39, 39), (40, 40), (100, 100)])
def test_the_leak_is_of_what_was_answered_by_then(
    caught_after: int, images: int, loot: Loot, train: Train, yardstick: Yardstick
) -> None:
    """It is measured as the end of an attack would be that stopped there."""
    kept = Loot(*(part[:images] for part in loot))
    found = stolen(until(loot, caught_after), train, yardstick, 4)
    assert found.images == images
    assert found == stolen(kept, train, yardstick, 4)


def test_who_is_not_caught_leaks_all(loot: Loot, train: Train, yardstick: Yardstick) -> None:
    """Without an alarm the leak is what the whole attack stole."""
    assert stolen(until(loot, None), train, yardstick, 4) == stolen(loot, train, yardstick, 4)


def test_answers_can_be_paid_for_out_of_order(loot: Loot) -> None:
    """Rows are kept by what was paid for them, wherever they stand."""
    mixed = loot._replace(paid=loot.paid[::-1].copy())
    np.testing.assert_array_equal(until(mixed, 40).images, loot.images[80:])


def test_the_leak_is_worth_more_the_later_it_ends(
    loot: Loot, train: Train, yardstick: Yardstick
) -> None:
    """An untrained substitute guesses; one of the whole loot knows most digits."""
    nothing, everything = (stolen(until(loot, after), train, yardstick, 4) for after in (0, None))
    assert nothing.agreement.macro_f < 0.2
    assert everything.agreement.macro_f > nothing.agreement.macro_f + 0.3


def test_the_figures_can_be_written(loot: Loot, train: Train, yardstick: Yardstick) -> None:
    """They are the same after JSON."""
    found = stolen(until(loot, 0), train, yardstick, 4)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Stolen) == found
