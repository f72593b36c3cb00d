"""DFME: its rounds, its generator, and the gradient that it estimates through the victim."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from gamekeeper.replay.theft import Sent, quantise
from gamekeeper.replay.theft.attacks import dfme as attack
from gamekeeper.replay.theft.attacks.dfme import (
    EPSILON,
    DataFreeThief,
    dfme,
    difference,
    forward_difference,
)
from gamekeeper.replay.theft.craft import NOISE, Generator
from gamekeeper.replay.theft.model import Classifier
from gamekeeper.replay.theft.recording import Recorder
from support.natural_images import SMALL, digits, requests, rob, thief, victim

BATCH = 8


def test_a_round_is_two_probes_and_five_batches() -> None:
    """All are crafted; what is left below a round goes to the substitute; the budget is spent."""
    asked = requests(rob(partial(dfme, batch=BATCH), thief(), 2 * 7 * BATCH + 11))
    assert [len(each.images) for each in asked] == [BATCH] * 14 + [8, 3]
    assert [each.probe for each in asked] == [True, True, *[False] * 5] * 2 + [False] * 2
    assert [each.round for each in asked] == [0] * 7 + [1] * 7 + [2] * 2
    assert all(each.synthetic for each in asked)


def test_probes_lie_one_step_beside_what_they_measure() -> None:
    """The second request is the first with noise of EPSILON grey levels, as rounded images."""
    here, there = requests(rob(partial(dfme, batch=64), thief(), 7 * 64))[:2]
    steps = there.images.astype(np.float64) - here.images
    inside = (here.images > 4 * EPSILON) & (here.images < 255 - 4 * EPSILON)
    assert np.std(steps[inside]) == pytest.approx(EPSILON, rel=0.1)


@pytest.mark.parametrize("budget", [0, 1, 6, 60])
def test_a_small_budget_is_spent_exactly(budget: int) -> None:
    """With the paper's batch of 256, which is cut to a round of it."""
    asked = requests(rob(dfme, thief(), budget))
    assert sum(len(each.images) for each in asked) == budget
    assert sum(each.probe for each in asked) == (2 if budget >= 7 else 0)


def test_the_forward_difference_is_the_gradient_of_a_plane() -> None:
    """Averaged over many directions, rounding included; eq. (4)."""
    rng = np.random.default_rng(0)
    slope = rng.standard_normal((8, 8))
    here = rng.integers(60, 190, (8, 8), dtype=np.uint8)[None].repeat(4000, axis=0)
    there = quantise(here + EPSILON * rng.standard_normal(here.shape))
    rise = ((there.astype(np.float64) - here) * slope).sum(axis=(1, 2)).astype(np.float32)
    estimate = forward_difference(rise, here, there).mean(axis=0)
    np.testing.assert_allclose(estimate, slope, atol=6 * 8 / np.sqrt(4000))
    assert np.corrcoef(estimate.ravel(), slope.ravel())[0, 1] > 0.97


def test_logits_are_recovered_up_to_their_mean() -> None:
    """The difference to a substitute is that of the victim's logits with mean 0."""
    images = digits()[0][1000:1020]
    student = Classifier(SMALL, 3)
    with torch.no_grad():
        theirs = victim().logits(torch.from_numpy(images)).numpy()
        mine = student.logits(torch.from_numpy(images)).numpy()
        measured = difference(student, Sent(images, victim()(images), True, 0)).numpy()
    # Probabilities below 1e-7 are beyond float32; the digits' are above.
    wanted = np.abs(mine - (theirs - theirs.mean(axis=1, keepdims=True))).mean(axis=1)
    np.testing.assert_allclose(measured, wanted, rtol=1e-3)


@pytest.mark.parametrize(
    "shape", [(8, 8), (28, 28), (32, 32, 3), (64, 64, 3), (9, 14, 3), (30, 17)]
)
def test_the_generator_makes_images_of_any_shape(shape: tuple[int, ...]) -> None:
    """Real pixels within 0..255; the same seed and noise make the same."""
    noise = torch.randn(4, NOISE, generator=torch.Generator().manual_seed(0))
    first, again, other = (Generator(shape, seed)(noise).detach() for seed in (1, 1, 2))
    assert first.shape == (4, *shape)
    assert first.min() >= 0.0
    assert first.max() <= 255.0
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_substitute_comes_to_follow_the_victim() -> None:
    """On digits, which it has never seen, its logits end nearer to the victim's than they began."""
    images = digits()[0][1000:1200]
    truth = Sent(images, victim()(images), True, 0)
    model = DataFreeThief(thief(), 5000, np.random.default_rng(1), 32)
    before = float(difference(model.student, truth).detach().mean())
    list(model.rounds(Recorder(victim())))
    assert float(difference(model.student, truth).detach().mean()) < 0.8 * before
    assert np.mean(model.student(images).labels == truth.answers.labels) > 0.2


def test_the_generator_finds_where_they_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a substitute that stands still, its images show a larger and larger difference."""
    monkeypatch.setattr(attack, "STUDENT_RATE", 0.0)
    monkeypatch.setattr(attack, "GENERATOR_RATE", 1e-2)
    model = DataFreeThief(thief(), 5000, np.random.default_rng(1), 32)
    made = list(model.rounds(Recorder(victim())))
    gaps = [float(difference(model.student, each).detach().mean()) for each in made]
    assert np.mean(gaps[-20:]) > 1.05 * np.mean(gaps[:20])
