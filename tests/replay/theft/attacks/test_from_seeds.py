"""Attacks that make images from seeds without gradients: what they make, and of which."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gamekeeper.replay.theft.attacks.augment import augment
from gamekeeper.replay.theft.craft import variants
from support.natural_images import requests, rob, rows_of, thief


def test_augmentation_makes_a_variant_of_every_seed_each_round() -> None:
    """In random order; variants of no strength say of which seed each is."""
    start = thief()
    seeds, *rounds = requests(rob(partial(augment, strength=0.0), start, 90))
    np.testing.assert_array_equal(seeds.images, start.seeds)
    assert [len(each.images) for each in rounds] == [20, 20, 20, 10]
    assert all(each.synthetic for each in rounds)
    originals = [rows_of(each.images, start.seeds) for each in rounds]
    assert sorted(originals[0]) == sorted(originals[1]) == list(range(20))
    assert originals[0] != originals[1]


def test_sorted_augmentation_makes_all_variants_of_a_seed_together() -> None:
    """As many of each as the budget is for; another seed of chance begins elsewhere."""
    start = thief()
    attack = partial(augment, order="sorted", strength=0.0)
    _, *rounds = requests(rob(attack, start, 90))
    originals = [set(rows_of(each.images, start.seeds)) for each in rounds]
    assert [len(each.images) for each in rounds] == [4] * 17 + [2]
    assert all(len(each) == 1 for each in originals)
    assert len(set.union(*originals)) == 18


@pytest.mark.parametrize("shape", [(12, 20), (12, 20, 3)])
def test_variants_move_less_at_half_strength_and_not_at_all_at_none(shape: tuple[int, ...]) -> None:
    """The same draws; a ramp's values tell how far a pixel was moved, whatever its shape."""
    ramp = np.indices(shape)[1].astype(np.uint8) * 10
    images = ramp[None].repeat(50, axis=0)

    def moved(strength: float) -> np.ndarray:
        made = variants(images, strength, np.random.default_rng(0))
        assert made.shape == images.shape
        assert made.dtype == np.uint8
        return np.abs(made.astype(float) - images)[:, 4:8, 8:12]

    assert not moved(0.0).any()
    assert moved(0.5).mean() == pytest.approx(moved(1.0).mean() / 2, rel=0.1)
    assert 5.0 < moved(1.0).mean() < 25.0


def test_variants_of_one_image_all_differ() -> None:
    """Each is turned, zoomed, shifted and bent by its own amounts."""
    made = variants(thief().seeds[:1].repeat(30, axis=0), 1.0, np.random.default_rng(0))
    assert len({each.tobytes() for each in made}) == 30
