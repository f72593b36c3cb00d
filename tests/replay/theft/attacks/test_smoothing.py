"""Smoothing: which images are shifted, and how far."""

from __future__ import annotations

from functools import partial

import numpy as np

from gamekeeper.replay.theft.attacks.smoothing import smoothing
from support.natural_images import requests, rob, rows_of, thief


def test_each_image_goes_out_as_three_copies_seeds_first() -> None:
    """Copies that are not shifted say of which; the last one has what is left of the budget."""
    start = thief(pool=30)
    asked = requests(rob(partial(smoothing, pixels=0.0), start, 100))
    own = np.concatenate([start.seeds, start.pool])
    originals = [rows_of(each.images, own) for each in asked]
    assert [len(each) for each in originals] == [3] * 33 + [1]
    assert all(len(set(each)) == 1 for each in originals)
    first = [each[0] for each in originals]
    assert sorted(first[:20]) == list(range(20))
    assert len(set(first)) == 34
    assert all(each.synthetic and each.round == 0 for each in asked)


def test_copies_differ_by_a_little_and_the_originals_are_kept_back() -> None:
    """No query is an own image, and no two are the same; the middle of a ramp tells the shift."""
    start = thief(pool=30)
    made = rob(smoothing, start, 100).loot.images
    own = {each.tobytes() for each in (*start.seeds, *start.pool)}
    assert len({each.tobytes() for each in made} - own) == 100
    ramp = (np.indices((8, 8))[1] * 20).astype(np.uint8)[None]
    moved = rob(smoothing, start._replace(seeds=ramp), 30).loot.images[:3, 4, 4]
    shifts = np.abs(moved.astype(float) - ramp[0, 4, 4]) / 20
    assert 0.0 < shifts.max() <= 1.03


def test_an_attack_ends_with_its_images() -> None:
    """Each is shifted once, and no more."""
    done = rob(partial(smoothing, copies=2), thief(pool=10), 100)
    assert len(done.loot.images) == 60
