"""Are substitutes trained as each strategy says?"""

from __future__ import annotations

from functools import partial
from typing import get_args

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import KFold

from gamekeeper.replay.theft import Images
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.recording import Loot
from gamekeeper.replay.theft.thief import Hyperparameters, train_substitute
from gamekeeper.replay.theft.thief.search import Search
from gamekeeper.replay.theft.thief.substitute import Strategy, some

CORNERS = Search(random=0, guided=0, folds=2, images=40, epochs=(1, 6))
SHORT = Hyperparameters("adam", 1e-3, 3)
train = partial(train_substitute, victim=SHORT, search=CORNERS)


def test_rule_of_thumb_is_papernots(
    loot: Loot, architecture: Architecture, test_images: Images
) -> None:
    """Ten epochs of SGD at 0.01 on all that was stolen."""
    expected = Classifier(architecture, 5, "sgd", 0.01)
    expected.fit(loot.images, loot.labels, 10)
    thief = train(loot, "rule-of-thumb", architecture, 5)
    assert_array_equal(thief(test_images).probabilities, expected(test_images).probabilities)


def test_same_copies_the_victims_training(
    loot: Loot, architecture: Architecture, test_images: Images
) -> None:
    """The victim's optimiser, rate, epochs and dropout are used."""
    expected = Classifier(architecture._replace(dropout=0.3), 5, "adam", 2e-3)
    expected.fit(loot.images, loot.labels, 4)
    copied = Hyperparameters("adam", 2e-3, 4, 0.3)
    thief = train_substitute(loot, "same", architecture, 5, victim=copied)
    assert_array_equal(thief(test_images).probabilities, expected(test_images).probabilities)


def test_probabilities_can_be_the_targets(
    loot: Loot, architecture: Architecture, test_images: Images
) -> None:
    """The network learns the victim's probabilities where it is told to."""
    expected = Classifier(architecture, 5)
    expected.fit(loot.images, loot.probabilities, 3)
    thief = train(loot, "same", architecture, 5, targets="probabilities")
    assert_array_equal(thief(test_images).probabilities, expected(test_images).probabilities)


def test_search_cross_validates_on_the_oldest_images(
    loot: Loot, architecture: Architecture, test_images: Images
) -> None:
    """With the corners only, the chosen one is what folds by hand find best, with dropout."""
    shape = architecture._replace(dropout=0.5)

    def trained(rate: float, epochs: int, rows: np.ndarray) -> Classifier:
        model = Classifier(shape, 5, "adam", rate)
        model.fit(loot.images[rows], loot.labels[rows], epochs)
        return model

    best, chosen = -1.0, (0.0, 0)
    for rate in (1e-4, 1e-2):
        for epochs in (1, 6):
            right = []
            for fit, held in KFold(2, shuffle=True, random_state=5).split(np.arange(40)):
                said = trained(rate, epochs, fit)(loot.images[held]).labels
                right.append(np.mean(said == loot.labels[held]))
            if np.mean(right) > best:
                best, chosen = float(np.mean(right)), (rate, epochs)
    expected = trained(*chosen, np.arange(120))
    thief = train(loot, "cv-search", architecture, 5)
    np.testing.assert_allclose(
        thief(test_images).probabilities, expected(test_images).probabilities, atol=1e-5
    )


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_dropout_can_be_set_for_each_strategy(
    strategy: Strategy, loot: Loot, architecture: Architecture
) -> None:
    """What is asked for replaces the strategy's own."""
    few = some(loot, np.arange(6))
    own = {"rule-of-thumb": 0.0, "same": 0.0, "cv-search": 0.5}
    assert train(few, strategy, architecture, 5).architecture.dropout == own[strategy]
    assert train(few, strategy, architecture, 5, dropout=0.2).architecture.dropout == 0.2


@pytest.mark.parametrize("strategy", get_args(Strategy))
@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_loot_is_enough(
    strategy: Strategy, count: int, loot: Loot, architecture: Architecture, test_images: Images
) -> None:
    """A thief with next to nothing has a substitute, and with nothing an untrained one."""
    thief = train(some(loot, np.arange(count)), strategy, architecture, 5)
    untrained = Classifier(architecture, 5)(test_images).probabilities
    assert np.isfinite(thief(test_images).probabilities).all()
    assert (thief(test_images).probabilities == untrained).all() == (count == 0)


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_training_follows_its_seed(
    strategy: Strategy, loot: Loot, architecture: Architecture, test_images: Images
) -> None:
    """The same seed trains the same network, another seed another."""
    first, again, other = (
        train(loot, strategy, architecture, seed)(test_images).probabilities for seed in (5, 5, 6)
    )
    assert_array_equal(first, again)
    assert (first != other).any()
