"""Is agreement what the paper calls so?"""

from __future__ import annotations

import numpy as np
import pytest

from gamekeeper.replay.theft import Answers, Images, Victim
from gamekeeper.replay.theft.model import Classifier
from gamekeeper.replay.theft.thief.agreement import agreement, macro_f


def darker_than(level: int) -> Victim:
    """Return a model that calls images 1 whose first pixel is below a level, others 0."""

    def model(images: Images) -> Answers:
        labels = (images[:, 0, 0] < level).astype(np.int64)
        return Answers(labels, np.eye(2, dtype=np.float32)[labels])

    return model


def test_macro_f_averages_over_classes() -> None:
    """It is the mean over classes of 2 hits / (times true + times said), rare ones included."""
    rng = np.random.default_rng(1)
    truth = rng.choice(5, 200, p=[0.6, 0.2, 0.1, 0.05, 0.05])
    said = np.where(rng.random(200) < 0.6, truth, rng.integers(0, 6, 200))  # 5 is never true
    scores = [
        2
        * np.sum((truth == each) & (said == each))
        / (np.sum(truth == each) + np.sum(said == each))
        for each in range(6)
    ]
    assert macro_f(truth, said) == pytest.approx(np.mean(scores))


def test_a_copy_agrees_with_its_original(victim: Classifier, test_images: Images) -> None:
    """A model agrees with itself in everything."""
    found = agreement(victim, victim, test_images, 1)
    assert (found.macro_f, found.accuracy, found.random_uniform) == (1.0, 1.0, 1.0)


def test_each_figure_is_of_its_own_images() -> None:
    """Models that differ in a quarter of all pixels do so on noise, not on the test images."""
    test = np.zeros((10, 8, 8), np.uint8)
    test[:5] = 255
    test[0] = 100
    found = agreement(darker_than(128), darker_than(64), test, 1)
    assert found.random_uniform == pytest.approx(0.75, abs=0.03)
    assert (found.random_uniform * 4000) % 1 == 0
    assert found.accuracy == 0.9
    # Class 1 is true six times and said five times, class 0 four and five times.
    assert found.macro_f == pytest.approx((10 / 11 + 8 / 9) / 2)


def test_who_always_says_the_same_agrees_by_accuracy_not_by_macro_f() -> None:
    """Guessing the most frequent class scores in the plain share only."""
    test = np.zeros((100, 8, 8), np.uint8)
    test[:5] = 255
    found = agreement(darker_than(128), darker_than(256), test, 1)
    assert found.accuracy == 0.95
    assert found.macro_f < 0.5
