"""Are adversarial examples made on the substitute, and is their success counted as in the paper?"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gamekeeper.replay.theft import Answers, Images, quantise
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.thief.transfer import METHODS, transferability


class Witness:
    """A victim that remembers what it was asked and answers seeds, then others, as it is told."""

    def __init__(self, seeds: NDArray[np.int64], others: int) -> None:
        self._seeds = seeds
        self._others = others
        self.seen: list[Images] = []

    def __call__(self, images: Images) -> Answers:
        """Give the seeds' classes on the first call, the others' class from then on."""
        labels = np.full(len(images), self._others) if self.seen else self._seeds
        self.seen.append(images)
        return Answers(labels, np.eye(10, dtype=np.float32)[labels])


@pytest.fixture(scope="module")
def thief(
    architecture: Architecture, victim: Classifier, digits: tuple[Images, NDArray[np.int64]]
) -> Classifier:
    """Return a good substitute, trained with dropout."""
    images = digits[0][600:1200]
    model = Classifier(architecture._replace(dropout=0.2), 3, rate=5e-3)
    model.fit(images, victim(images).labels, 8)
    return model


def obvious(
    method: str, model: Classifier, seeds: Images, classes: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Leave the classes by the formulas of section III-B, one step after the other."""
    steps = 1 if method == "fgsm" else 11
    start = seeds.astype(np.float32)
    moved, momentum = start, np.zeros_like(start)
    for _ in range(steps):
        gradient = model.gradient(moved, classes)
        size = np.abs(gradient).sum(axis=(1, 2), keepdims=True)
        momentum = momentum + gradient / np.where(size == 0, 1, size)
        direction = np.sign(momentum if method == "mi-fgsm" else gradient)
        moved = np.clip(moved + np.float32(64 / steps) * direction, start - 64, start + 64)
        moved = np.clip(moved, 0, 255)
    return moved


@pytest.mark.parametrize("method", ["fgsm", "i-fgsm", "mi-fgsm"])
def test_examples_follow_the_formulas(method: str, thief: Classifier, seeds: Images) -> None:
    """What the victim is shown is what the paper's formulas make on the substitute."""
    classes = thief(seeds).labels
    victim = Witness(classes, 0)
    transferability(victim, thief, seeds, 1, methods=[method])
    expected = quantise(obvious(method, thief, seeds, classes))
    # A gradient of all but 0 may have either sign.
    assert np.mean(np.abs(victim.seen[1].astype(int) - expected) <= 1) > 0.999


@pytest.mark.parametrize("method", METHODS)
def test_examples_stay_within_epsilon(method: str, thief: Classifier, seeds: Images) -> None:
    """No pixel moves by more than 64, but some do move by that much."""
    victim = Witness(thief(seeds).labels, 0)
    transferability(victim, thief, seeds, 1, methods=[method])
    _, away, toward = victim.seen
    for moved, origin in ((away, seeds), (toward, seeds.repeat(9, axis=0))):
        assert moved.dtype == np.uint8
        assert np.abs(moved.astype(int) - origin).max() == 64


def test_success_is_counted_by_the_victims_classes(thief: Classifier, seeds: Images) -> None:
    """Who calls everything 1 has left all other classes and hits one target in nine."""
    others = np.where(thief(seeds).labels == 1, 2, thief(seeds).labels)
    found = transferability(Witness(others, 1), thief, seeds, 1, methods=["fgsm"])["fgsm"]
    assert found.non_targeted == 1.0
    assert found.targeted == pytest.approx(1 / 9)
    found = transferability(Witness(np.ones_like(others), 1), thief, seeds, 1, methods=["fgsm"])
    assert (found["fgsm"].non_targeted, found["fgsm"].targeted) == (0.0, 0.0)


def test_fewer_targets_can_be_drawn(thief: Classifier, seeds: Images) -> None:
    """The number of targets per seed is capped, and no target is the seed's own class."""
    classes = thief(seeds).labels
    victim = Witness(classes, 0)
    transferability(victim, thief, seeds, 1, methods=["random"], targets=2)
    assert [len(each) for each in victim.seen] == [40, 40, 80]


def test_distance_is_in_the_papers_units(thief: Classifier) -> None:
    """A random step of 64 at every pixel of grey images is 8 * 128/255 long."""
    grey = np.full((5, 8, 8), 128, np.uint8)
    victim = Witness(np.zeros(5, np.int64), 0)
    found = transferability(victim, thief, grey, 1, methods=["random"])["random"]
    assert found.l2 == pytest.approx(8 * 128 / 255)


def test_gradients_of_a_good_substitute_fool_the_victim_more_than_noise(
    victim: Classifier, thief: Classifier, seeds: Images
) -> None:
    """Iterated examples transfer, targeted ones too; random steps of the same size hardly do."""
    found = transferability(victim, thief, seeds, 1)
    assert list(found) == list(METHODS)
    assert found["i-fgsm"].non_targeted > found["random"].non_targeted + 0.3
    assert found["mi-fgsm"].targeted > found["random"].targeted + 0.2


def test_measuring_changes_nothing(victim: Classifier, thief: Classifier, seeds: Images) -> None:
    """The substitute answers as before, and the same seed gives the same figures again."""
    before = thief(seeds).probabilities
    first, again = (
        transferability(victim, thief, seeds, 4, methods=["random", "mi-fgsm"], targets=2)
        for _ in range(2)
    )
    np.testing.assert_array_equal(thief(seeds).probabilities, before)
    assert first == again
