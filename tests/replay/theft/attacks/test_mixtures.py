"""Mixup and CutMix: what of two seeds is in each image."""

from __future__ import annotations

from functools import partial

import numpy as np

from gamekeeper.replay.theft import Images
from gamekeeper.replay.theft.attacks.cutmix import cutmix, rectangles
from gamekeeper.replay.theft.attacks.mixup import mixup
from support.natural_images import rob, thief


def test_mixup_sends_weighted_means_of_two_seeds() -> None:
    """Each made image lies on the line between two seeds; weights of a large alpha are halves."""
    start = thief()
    seeds = start.seeds.reshape(20, 1, -1).astype(float)
    made = rob(mixup, start, 60).loot.images[20:].reshape(40, 1, 1, -1).astype(float)
    steps = seeds.swapaxes(0, 1) - seeds
    square = np.maximum(1.0, np.square(steps).sum(axis=2))
    weights = ((made - seeds) * steps).sum(axis=3) / square
    off = np.abs(made - seeds - weights[..., None] * steps).max(axis=3)
    assert np.all(off.min(axis=(1, 2)) < 1.0)
    halves = rob(partial(mixup, alpha=1e6), start, 40).loot.images[20:].reshape(20, 1, -1)
    means = ((seeds + seeds.swapaxes(0, 1)) / 2)[np.triu_indices(20, 1)]
    assert np.abs(halves - means).max(axis=2).min(axis=1).max() <= 1.0


def test_cutmix_puts_a_rectangle_of_one_seed_into_another() -> None:
    """Every pixel is of one of two seeds, and what is not of the first fills a rectangle."""
    start = thief()
    for image in rob(cutmix, start, 60).loot.images[20:]:
        assert any(_is_cut(image, one, other) for one in start.seeds for other in start.seeds)


def _is_cut(image: Images, one: Images, other: Images) -> bool:
    rows, columns = np.nonzero(image != one)
    if not len(rows):
        return True
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return np.array_equal(image[box], other[box])


def test_cutmix_rectangles_are_of_all_sizes() -> None:
    """From hardly anything to nearly the whole."""
    shares = rectangles(500, (30, 20), np.random.default_rng(0)).mean(axis=(1, 2))
    assert shares.min() < 0.05
    assert shares.max() > 0.7
    assert 0.2 < shares.mean() < 0.5
