"""Do the attacks attack, and is what they say they sent what the victim saw?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from gamekeeper.replay.attacks.base import Answers, Images, Sent, Victim, quantise
from gamekeeper.replay.attacks.jb_self import jb_self
from gamekeeper.replay.attacks.jb_topk import jb_topk
from gamekeeper.replay.attacks.network import Classifier, steps_toward
from gamekeeper.replay.attacks.papernot import papernot
from gamekeeper.replay.attacks.t_rnd import t_rnd
from gamekeeper.replay.attacks.tramer import tramer

BUDGET = 130
SEEDED = {
    "papernot": papernot,
    "t-rnd": partial(t_rnd, epochs=4),
    "jb-topk": partial(jb_topk, epochs=4),
    "jb-self": partial(jb_self, epochs=4),
}
ROUNDS = {
    # Seeds, then rounds that double or (with three targets each) quadruple, then what is left.
    "papernot": [20, 20, 40, 50],
    "t-rnd": [20, 60, 50],
    "jb-topk": [20, 60, 50],
    "jb-self": [20, 20, 40, 50],
}


class Witness:
    """A victim that remembers what it was asked."""

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self.seen: list[Images] = []

    def __call__(self, images: Images) -> Answers:
        """Answer as the model does."""
        self.seen.append(images.copy())
        return self.model(images)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> tuple[Images, NDArray[np.int64]]:
    """Return scikit-learn's 8x8 digits with pixels 0..255."""
    data = load_digits()
    return quantise(data.images * (255 / 16)), data.target.astype(np.int64)


@pytest.fixture(scope="module")
def model(digits: tuple[Images, NDArray[np.int64]]) -> Classifier:
    """Return a victim that knows the digits."""
    images, labels = digits
    network = Classifier((8, 8), 10, 0)
    network.fit(images[:1000], labels[:1000], 5)
    return network


def _run(name: str, victim: Victim, images: Images, seed: int) -> list[Sent]:
    rng = np.random.default_rng(seed)
    if name == "tramer":
        return list(tramer(victim, (8, 8), BUDGET, rng))
    return list(SEEDED[name](victim, images[-20:], BUDGET, rng))


def test_the_victim_is_worth_stealing(
    model: Classifier, digits: tuple[Images, NDArray[np.int64]]
) -> None:
    """The network learns what it is trained on."""
    images, labels = digits
    assert np.mean(model(images[1000:]).labels == labels[1000:]) > 0.85


def _check_rounds(sent: list[Sent], sizes: list[int], seeds: Images) -> None:
    """Natural seeds come first, then crafted rounds that grow by the attack's factor."""
    assert [len(each.images) for each in sent] == sizes
    assert [each.round for each in sent] == list(range(len(sent)))
    assert [each.synthetic for each in sent] == [False] + [True] * (len(sent) - 1)
    np.testing.assert_array_equal(sent[0].images, seeds)


@pytest.mark.parametrize("name", [*SEEDED, "tramer"])
def test_every_query_is_recorded_as_it_was_sent(
    name: str, model: Classifier, digits: tuple[Images, NDArray[np.int64]]
) -> None:
    """What an attack yields is what the victim saw, in order, with the answers it gave.

    Attacks from seeds also grow from round to round as the papers say.
    """
    victim = Witness(model)
    sent = _run(name, victim, digits[0], 1)
    if name in ROUNDS:
        _check_rounds(sent, ROUNDS[name], digits[0][-20:])
    images = np.concatenate([each.images for each in sent])
    assert images.dtype == np.uint8
    assert images.shape == (BUDGET, 8, 8)
    np.testing.assert_array_equal(images, np.concatenate(victim.seen))
    labels = np.concatenate([each.answers.labels for each in sent])
    np.testing.assert_array_equal(labels, model(images).labels)


@pytest.mark.parametrize("name", [*SEEDED, "tramer"])
def test_an_attack_follows_its_seed(
    name: str, model: Classifier, digits: tuple[Images, NDArray[np.int64]]
) -> None:
    """The same seed makes the same queries, another seed makes others."""
    first, again, other = (
        np.concatenate([each.images for each in _run(name, model, digits[0], seed)])
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_papernot_steps_by_lambda_and_keeps_to_its_reservoir(
    model: Classifier, digits: tuple[Images, NDArray[np.int64]]
) -> None:
    """Every crafted pixel lies one step of 25.5 from its origin's, and rounds are capped."""
    attack = partial(papernot, reservoir=15)
    sent = list(attack(model, digits[0][-20:], 50, np.random.default_rng(1)))
    assert [len(each.images) for each in sent] == [20, 15, 15]
    seeds = sent[0].images.astype(np.int64)
    for image in sent[1].images.astype(np.int64):
        moves = np.abs(seeds - image).reshape(len(seeds), -1)
        assert moves.max(axis=1).min() in (25, 26)


def test_targeted_steps_stay_in_reach_and_serve_their_target(
    model: Classifier, digits: tuple[Images, NDArray[np.int64]]
) -> None:
    """Iterated steps raise the target's probability within the bound and the pixels' range."""
    images = digits[0][-50:]
    targets = (model(images).labels + 1) % 10
    moved = steps_toward(model, images, targets, reach=64.0, step=8.0, steps=11)
    assert np.abs(moved - images).max() <= 64.0
    assert moved.min() >= 0.0
    assert moved.max() <= 255.0
    rows = np.arange(len(images))
    before, after = model(images), model(quantise(moved))
    gain = after.probabilities[rows, targets] - before.probabilities[rows, targets]
    assert gain.mean() > 0.1


def test_tramer_closes_in_on_a_border(model: Classifier) -> None:
    """A quarter is noise, the rest halves the way between two classes again and again."""
    sent = list(tramer(model, (8, 8), 400, np.random.default_rng(1)))
    assert [len(each.images) for each in sent] == [100] + [1] * 300
    assert all(each.synthetic for each in sent)
    search = np.concatenate([each.images for each in sent[1:]]).astype(np.int64)
    steps = np.abs(np.diff(search, axis=0)).reshape(299, -1).max(axis=1)
    # From one middle to the next it is half as far each time, until the next pair's begins.
    np.testing.assert_array_less(steps[1:5], steps[:4])
    assert np.sum(steps <= 2) > 10


def test_tramer_goes_on_where_noise_has_one_class() -> None:
    """A victim that finds one class in all noise is sent noise for the whole budget."""

    def stubborn(images: Images) -> Answers:
        return Answers(np.zeros(len(images), np.int64), np.ones((len(images), 1), np.float32))

    sent = list(tramer(stubborn, (8, 8), 40, np.random.default_rng(1)))
    assert [len(each.images) for each in sent] == [10, 30]
