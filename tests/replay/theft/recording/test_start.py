"""What a thief starts with: as many seeds of each class, and everything else as the pool."""

from __future__ import annotations

import numpy as np
import pytest

from gamekeeper.replay.theft.recording import draw_start
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.schemas.errors import TraceError

SIZES = {"cat": 9, "dog": 5, "emu": 7}
LABELS = np.repeat(np.arange(3), list(SIZES.values()))
IMAGES = np.random.default_rng(0).integers(0, 256, (21, 4, 4), np.uint8)
DATA = Dataset(IMAGES, LABELS, classes=tuple(SIZES))
POOL = Dataset(np.zeros((6, 4, 4), np.float32), np.arange(6), classes=tuple("abcdef"))


def labels_of(images: np.typing.NDArray[np.uint8]) -> list[int]:
    """Look the images' classes up."""
    return [int(LABELS[(image == IMAGES).all(axis=(1, 2))][0]) for image in images]


def test_seeds_are_balanced_and_the_rest_is_the_pool() -> None:
    """Each image is in one of the two, with the label that it has."""
    start = draw_start(DATA, 8, 4, np.random.default_rng(0), None)
    assert start.classes == 8
    assert np.bincount(labels_of(start.seeds)).tolist() == [4, 4, 4]
    assert start.pool_labels is not None
    assert labels_of(start.pool) == start.pool_labels.tolist()
    together = np.concatenate([start.seeds, start.pool])
    assert sorted(map(bytes, together)) == sorted(map(bytes, IMAGES))


def test_seeds_come_in_random_order_that_follows_the_seed() -> None:
    """Not class by class: a small budget would see one class only."""
    draws = [draw_start(DATA, 3, 5, np.random.default_rng(seed), None).seeds for seed in (0, 0, 1)]
    assert labels_of(draws[0]) != sorted(labels_of(draws[0]))
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_a_pool_of_ones_own_takes_the_rests_place() -> None:
    """Its labels are its collector's, its images are brought to uint8, too."""
    start = draw_start(DATA, 3, 5, np.random.default_rng(0), POOL)
    assert start.pool_labels is not None
    assert start.pool_labels.tolist() == list(range(6))
    assert start.pool.dtype == np.uint8
    assert start.pool.shape == (6, 4, 4)


def test_a_class_with_too_few_images_is_named() -> None:
    """And what to do."""
    with pytest.raises(TraceError, match=r"class dog has 5 images, 6 are asked for; .*--seeds"):
        draw_start(DATA, 3, 6, np.random.default_rng(0), None)


def test_a_pool_of_another_shape_is_refused() -> None:
    """Both shapes are said."""
    pool = Dataset(np.zeros((6, 5, 4), np.uint8), np.arange(6), classes=tuple("abcdef"))
    with pytest.raises(TraceError, match=r"shape \(5, 4\), those of --data \(4, 4\)"):
        draw_start(DATA, 3, 5, np.random.default_rng(0), pool)
