"""Attacks that send the pool's own images: at random, or where a bandit expects most."""

from __future__ import annotations

import numpy as np
import pytest

from gamekeeper.replay.theft import Reply, Request
from gamekeeper.replay.theft.attacks import catalog
from gamekeeper.replay.theft.attacks.knockoff_adaptive import (
    WINDOW,
    Bandit,
    PoolLabelsError,
    Rewards,
    knockoff_adaptive,
    measures,
)
from gamekeeper.replay.theft.attacks.random_images import PART, random_images
from support.natural_images import requests, rob, rows_of, thief, victim

NAMES = ["random", "copycat", "knockoff-random", "knockoff-adaptive"]


@pytest.mark.parametrize("name", NAMES)
def test_natural_images_are_sent_unchanged_and_none_twice(name: str) -> None:
    """Every query is an image of the pool, marked natural, and another one each time."""
    start = thief()
    done = rob(catalog.attack(name), start, 70)
    assert len(set(rows_of(done.loot.images, start.pool))) == 70
    assert {(each.synthetic, each.round, each.probe) for each in requests(done)} == {
        (False, 0, False)
    }
    np.testing.assert_array_equal(done.loot.labels, victim()(done.loot.images).labels)


@pytest.mark.parametrize("name", NAMES)
def test_a_pool_that_runs_out_ends_the_attack(name: str) -> None:
    """Each of its images is asked once, and no more."""
    start = thief(pool=40)
    done = rob(catalog.attack(name), start, 70)
    assert sorted(rows_of(done.loot.images, start.pool)) == list(range(40))


def test_random_images_are_asked_in_parts() -> None:
    """So that a thief who is caught has what he paid for until then."""
    done = rob(random_images, thief(), 2 * PART + 6)
    assert [len(each.images) for each in requests(done)] == [PART, PART, 6]
    assert done.loot.paid.tolist() == list(range(1, 2 * PART + 7))


def test_copycat_sends_what_random_sends() -> None:
    """The same queries in the same order; the difference is the thief's training."""
    mine, theirs = (rob(catalog.attack(name), thief(), 50).loot for name in ("random", "copycat"))
    np.testing.assert_array_equal(mine.images, theirs.images)


def test_adaptive_knockoff_refuses_a_pool_without_labels() -> None:
    """Before anything is asked, and says what to use instead."""
    with pytest.raises(PoolLabelsError, match="use knockoff-random"):
        rob(knockoff_adaptive, thief()._replace(pool_labels=None), 10)


def test_adaptive_knockoff_goes_where_the_victim_is_surest() -> None:
    """Of a class of digits and a class of noise, it asks more of what pays."""
    start = thief(pool=200)
    noise = np.random.default_rng(5).integers(110, 140, start.pool.shape, dtype=np.uint8)
    pool = np.concatenate([start.pool, noise])
    mixed = start._replace(pool=pool, pool_labels=np.repeat([3, 9], 200))
    shares = [
        np.mean(np.array(rows_of(rob(knockoff_adaptive, mixed, 150, seed).loot.images, pool)) < 200)
        for seed in range(3)
    ]
    assert np.mean(shares) > 0.6


def test_adaptive_knockoff_bears_images_that_get_no_answer() -> None:
    """What an evasion leaves out costs no budget and gives no reward."""
    asked = []

    def oracle(request: Request) -> Reply:
        asked.append(request)
        sent = np.full(len(request.images), len(asked) % 2 == 0)
        return Reply(victim()(request.images[sent]), sent)

    parts = list(knockoff_adaptive(oracle, thief(), 20, np.random.default_rng(1)))
    assert len(asked) == 40
    assert sum(len(each.images) for each in parts) == 20


def test_rewards_are_certainty_diversity_and_loss() -> None:
    """Worked by hand for three classes."""
    answer, guess = np.float32([0.7, 0.2, 0.1]), np.float32([0.5, 0.25, 0.25])
    usual = np.float32([0.1, 0.1, 0.8])
    certainty, diversity, loss = measures(answer, guess, usual)
    assert certainty == pytest.approx(0.5)
    assert diversity == pytest.approx(0.7)
    assert loss == pytest.approx(-0.7 * np.log(0.5) - 0.3 * np.log(0.25))


def test_rewards_are_scaled_by_the_window_and_less_its_mean() -> None:
    """Against an oracle that keeps everything and looks at the last few."""
    rng = np.random.default_rng(0)
    answers, guesses = (rng.dirichlet(np.ones(4), 60).astype(np.float32) for _ in range(2))
    rewards, past = Rewards(), []
    for at, (answer, guess) in enumerate(zip(answers, guesses, strict=True)):
        before = answers[max(at - WINDOW, 0) : at]
        past.append(measures(answer, guess, before.mean(axis=0) if at else answer))
        window = np.array(past[-WINDOW:])
        low, high = window.min(axis=0), window.max(axis=0)
        scaled = (window - low) / (high - low) if at else window * 0
        wanted = sum(scaled[-1] - scaled.mean(axis=0))
        assert rewards(answer, guess) == pytest.approx(wanted, abs=1e-6)


def test_the_bandit_follows_its_rewards_and_skips_what_is_empty() -> None:
    """The action that pays is drawn most; one that is not allowed, never."""
    rng, bandit = np.random.default_rng(0), Bandit(3)
    allowed = np.array([True, True, False])
    drawn = []
    for _ in range(200):
        drawn.append(bandit.draw(allowed, rng))
        bandit.learn(1.0 if drawn[-1] == 1 else -1.0)
    assert bandit.chances[1] > 0.9
    assert 2 not in drawn
