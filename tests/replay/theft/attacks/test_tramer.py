"""Attacks with noise: line search, adaptive retraining."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gamekeeper.replay.theft import Answers, Attack, Images
from gamekeeper.replay.theft.attacks.tramer import tramer
from gamekeeper.replay.theft.attacks.tramer_adaptive import tramer_adaptive
from gamekeeper.replay.theft.attacks.tramer_random import tramer_random
from gamekeeper.replay.theft.model import Classifier
from gamekeeper.replay.theft.recording import Recorder, run
from support.natural_images import SMALL, rob, thief


def _halves(images: Images) -> Answers:
    """Answer whether the left half is brighter, with a probability that tells by how much."""
    lean = images[:, :, :4].mean(axis=(1, 2)) - images[:, :, 4:].mean(axis=(1, 2))
    first = 1 / (1 + np.exp(-lean / 10))
    probabilities = np.stack([first, 1 - first], axis=1).astype(np.float32)
    return Answers(probabilities.argmax(axis=1).astype(np.int64), probabilities)


def test_tramer_closes_in_on_a_border() -> None:
    """A quarter is noise, the rest halves the way between two classes again and again."""
    done = run(
        tramer, Recorder(_halves), thief()._replace(classes=2), 400, np.random.default_rng(1)
    )
    requests = [seen.request for seen in done.seen]
    assert [len(each.images) for each in requests] == [100] + [1] * 300
    assert all(each.synthetic for each in requests)
    assert [each.probe for each in requests] == [False] + [True] * 300
    search = np.concatenate([each.images for each in requests[1:]]).astype(np.int64)
    steps = np.abs(np.diff(search, axis=0)).reshape(299, -1).max(axis=1)
    # From one middle to the next it is half as far each time, until the next pair's begins.
    np.testing.assert_array_less(steps[1:5], steps[:4])
    assert np.sum(steps <= 2) > 10


@pytest.mark.parametrize("attack", [tramer, tramer_random])
def test_noise_goes_on_where_it_has_one_class(attack: Attack) -> None:
    """A victim that finds one class in all noise is sent noise for the whole budget."""

    def stubborn(images: Images) -> Answers:
        return Answers(np.zeros(len(images), np.int64), np.ones((len(images), 1), np.float32))

    done = run(
        attack, Recorder(stubborn), thief()._replace(classes=1), 400, np.random.default_rng(1)
    )
    pixels = done.loot.images
    assert len(pixels) == 400
    np.testing.assert_allclose(pixels.mean(axis=(1, 2)), 127.5, atol=60)
    assert pixels.std() == pytest.approx(255 / np.sqrt(12), rel=0.02)


def test_adaptive_retraining_divides_its_budget_evenly() -> None:
    """Ten rounds of noise, all of it crafted, counted from 0."""
    done = rob(partial(tramer_adaptive, epochs=1), thief(), 64)
    assert [len(seen.request.images) for seen in done.seen] == [7, 7, 7, 7, 7, 7, 7, 7, 7, 1]
    assert [seen.request.round for seen in done.seen] == list(range(10))
    assert all(seen.request.synthetic for seen in done.seen)


def test_adaptive_retraining_asks_near_the_border() -> None:
    """The victim is less sure of what later rounds ask than of the first round's noise."""
    attack = partial(tramer_adaptive, rounds=4, candidates=30, epochs=30)
    start = thief()._replace(classes=2)
    done = run(attack, Recorder(_halves), start, 800, np.random.default_rng(1))
    sure = [np.abs(seen.answers.probabilities[:, 0] - 0.5).mean() for seen in done.seen]
    assert max(sure[2:]) < 0.8 * sure[0]


def test_an_untrained_network_with_dropout_answers_always_the_same() -> None:
    """A classifier's weights may be loaded rather than trained: it answers all the same."""
    model = Classifier(SMALL._replace(dropout=0.5), 1)
    images = thief().seeds
    np.testing.assert_array_equal(model(images).probabilities, model(images).probabilities)
