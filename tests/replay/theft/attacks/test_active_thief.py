"""ActiveThief: what each strategy chooses, against oracles, and the loop around them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from gamekeeper.replay.theft import Answers, Attack, Images, quantise
from gamekeeper.replay.theft.attacks import catalog
from gamekeeper.replay.theft.attacks.active_dfal import distances, nearest_to_border
from gamekeeper.replay.theft.attacks.active_k_center import farthest
from gamekeeper.replay.theft.attacks.active_thief import sizes
from gamekeeper.replay.theft.attacks.active_uncertainty import active_uncertainty, least_certain
from gamekeeper.replay.theft.recording import Recorder, run
from support.natural_images import digits, requests, rob, rows_of, thief, victim

NAMES = [name for name in catalog.ATTACKS if name.startswith("activethief")]


def quick(name: str) -> Attack:
    """Return an attack that learns little and tries few images by DeepFool."""
    options = {"epochs": 3, "candidates": 2} if "dfal" in name else {"epochs": 3}
    return partial(catalog.attack(name), **options)


@pytest.mark.parametrize("name", NAMES)
def test_rounds_of_natural_images_each_asked_once(name: str) -> None:
    """A random round, then ten chosen ones, of the pool's own images; another seed asks others."""
    start = thief(pool=150)
    attack = quick(name)
    done, other = rob(attack, start, 70), rob(attack, start, 70, seed=2)
    assert len(set(rows_of(done.loot.images, start.pool))) == 70
    assert [(each.round, len(each.images)) for each in requests(done)] == list(
        zip(range(11), [7, 6, 7, 6, 6, 6, 7, 6, 6, 7, 6], strict=True)
    )
    assert not any(each.synthetic or each.probe for each in requests(done))
    assert not np.array_equal(done.loot.images, other.loot.images)


@pytest.mark.parametrize("name", NAMES)
def test_a_small_pool_is_used_up(name: str) -> None:
    """Where the budget is larger than the pool, each image is asked once."""
    start = thief(pool=25)
    done = rob(quick(name), start, 60)
    assert sorted(rows_of(done.loot.images, start.pool)) == list(range(25))


@pytest.mark.parametrize("budget", [0, 1, 7, 60, 1000])
def test_the_rounds_share_the_budget(budget: int) -> None:
    """A tenth first, at least one image, and all of it in the end."""
    shares = sizes(budget)
    assert sum(shares) == budget
    assert len(shares) == 11
    assert shares[0] == (max(1, round(budget / 10)) if budget else 0)
    assert max(shares[1:]) - min(shares[1:]) <= 1


def test_uncertainty_chooses_the_highest_entropy() -> None:
    """As in eq. (5), computed the obvious way."""
    images = digits()[0][1000:1080]
    probabilities = victim()(images).probabilities.astype(np.float64)
    entropy = [-sum(p * np.log(p) for p in row if p > 0) for row in probabilities]
    wanted = sorted(range(80), key=lambda row: -entropy[row])[:7]
    assert least_certain(victim(), images, images[:0], 7).tolist() == wanted


def test_k_center_chooses_greedily_what_is_farthest() -> None:
    """Against the greedy algorithm with all distances, one center after the other."""
    images = digits()[0][1000:1060]
    chosen = farthest(victim(), images[10:], images[:10], 8)
    points = victim()(images).probabilities
    centers = list(range(10))
    for row in chosen:
        gaps = [min(np.linalg.norm(points[at] - points[c]) for c in centers) for at in range(60)]
        assert gaps[10 + row] == pytest.approx(max(gaps), abs=1e-6)
        centers.append(10 + int(row))


def test_k_center_chooses_no_image_twice_where_all_are_alike() -> None:
    """Distances of zero leave the choice open, but not for the same image again."""
    images = digits()[0][:1].repeat(6, axis=0)
    assert sorted(farthest(victim(), images, images[:1], 6)) == list(range(6))


def _distance_by_bisection(image: Images, toward: NDArray[np.float64]) -> float:
    """Find how far along a direction the victim's class changes, in pixels of 0..1."""
    label = victim()(image[None]).labels[0]
    low, high = 0.0, 8.0
    for _ in range(20):
        middle = (low + high) / 2
        moved = quantise(image + 255 * middle * toward)
        same = victim()(moved[None]).labels[0] == label
        low, high = (middle, high) if same else (low, middle)
    return high


def test_deepfool_distances_are_those_of_borders() -> None:
    """No random direction leads across the border sooner, and surer images lie farther away.

    A distance that is out of scale (ART's steps follow clip_values) would fail one or the other.
    """
    images = digits()[0][1000:1040]
    measured = distances(victim(), images)
    rng = np.random.default_rng(0)
    for image, distance in zip(images[:10], measured, strict=False):
        directions = rng.standard_normal((5, 8, 8))
        directions /= np.linalg.norm(directions, axis=(1, 2), keepdims=True)
        assert min(_distance_by_bisection(image, each) for each in directions) > distance
    ordered = np.sort(victim()(images).probabilities, axis=1)
    surest = ordered[:, -1] - ordered[:, -2]
    assert np.corrcoef(np.argsort(np.argsort(surest)), np.argsort(np.argsort(measured)))[0, 1] > 0.8
    assert measured.max() < 4.0


def test_dfal_chooses_the_least_moved_of_its_candidates() -> None:
    """All candidates tried, the nearest come first; few tried, the choice is among those."""
    images = digits()[0][1000:1040]
    rows = nearest_to_border(victim(), images, 5, 40, np.random.default_rng(0))
    assert rows.tolist() == np.argsort(distances(victim(), images), kind="stable")[:5].tolist()
    few = nearest_to_border(victim(), images, 5, 6, np.random.default_rng(0))
    assert set(few) <= set(np.random.default_rng(0).permutation(40)[:6])


def test_every_round_learns_from_all_labels_so_far() -> None:
    """What is chosen depends on the answers: another victim is asked other images."""
    start = thief(pool=150)
    attack = partial(active_uncertainty, epochs=3)
    first = rob(attack, start, 60).loot.images

    def contrary(images: Images) -> Answers:
        answers = victim()(images)
        return answers._replace(labels=9 - answers.labels)

    second = run(attack, Recorder(contrary), start, 60, np.random.default_rng(1)).loot.images
    np.testing.assert_array_equal(first[:6], second[:6])
    assert not np.array_equal(first, second)
