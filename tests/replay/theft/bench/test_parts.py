"""Do parts share nothing, and do thieves get what they may have?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gamekeeper.replay.theft.bench.parts import Part, Parts, cut, rows_of, start
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.schemas.errors import TraceError


def _images(count: int) -> Dataset:
    """Make images that are all different: each has its number in its pixels."""
    inputs = np.arange(count, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    return Dataset(inputs, np.arange(count) % 4)


def _cut(data: Dataset, rng: np.random.Generator) -> Parts:
    """Cut as a bench does."""
    return cut(data, rows_of(data, rng))


def test_each_image_is_in_one_part() -> None:
    """The parts are disjoint, and together they are the data."""
    parts = _cut(_images(100), np.random.default_rng(0))
    numbers = [part.images[:, 0, 0].tolist() for part in parts]
    assert sorted(itertools.chain(*numbers)) == list(range(100))
    assert [len(each) for each in numbers] == [30, 30, 30, 10]


def test_labels_stay_with_their_images() -> None:
    """What is cut keeps its class."""
    for part in _cut(_images(100), np.random.default_rng(1)):
        np.testing.assert_array_equal(part.labels, part.images[:, 0, 0] % 4)


def test_a_group_is_never_torn_apart() -> None:
    """Images of one group, such as a sign's track, are all in one part."""
    data = _images(100)
    grouped = Dataset(data.inputs, data.labels, np.arange(100) // 5)
    parts = _cut(grouped, np.random.default_rng(2))
    groups = [set((part.images[:, 0, 0] // 5).tolist()) for part in parts]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 20


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.full((9, 4, 4), 0.123), "whole numbers 0..255"),
        (np.zeros((9, 7), np.uint8), "give height x width"),
    ],
)
def test_other_data_is_refused(inputs: np.ndarray, message: str) -> None:
    """Numbers that are no pixels, or no images, cannot be attacked; the error says what can."""
    with pytest.raises(TraceError, match=message):
        _cut(Dataset(inputs, np.zeros(9, np.int64)), np.random.default_rng(0))


def test_images_in_other_forms_are_the_same_images() -> None:
    """Channels that come first, and pixels of 0..1, are cut as what they stand for."""
    plain = np.random.default_rng(0).integers(0, 256, (30, 6, 6, 3), np.uint8)
    labels = np.arange(30) % 3
    other = Dataset((plain / 255).astype(np.float32).transpose(0, 3, 1, 2), labels)
    parts = [_cut(each, np.random.default_rng(1)) for each in (Dataset(plain, labels), other)]
    for mine, theirs in zip(*parts, strict=True):
        np.testing.assert_array_equal(mine.images, theirs.images)


def test_a_thief_without_a_pool_has_the_rest_of_his_images() -> None:
    """None of them is a seed."""
    data = _images(60)
    begin = start(Part(data.inputs, data.labels), None, 4, 3, np.random.default_rng(3))
    own = [each[:, 0, 0].tolist() for each in (begin.seeds, begin.pool)]
    assert [len(each) for each in own] == [12, 48]
    assert sorted(itertools.chain(*own)) == list(range(60))


def test_seeds_are_balanced_and_pools_shuffled() -> None:
    """A thief has the same number of seeds of each class, and all of the pool."""
    data = _images(100)
    thief, pool = Part(data.inputs[:60], data.labels[:60]), Part(data.inputs[60:], data.labels[60:])
    begin = start(thief, pool, 4, 3, np.random.default_rng(3))
    seeds = begin.seeds[:, 0, 0]
    assert np.bincount(seeds % 4).tolist() == [3, 3, 3, 3]
    assert sorted(begin.pool[:, 0, 0].tolist()) == list(range(60, 100))
    np.testing.assert_array_equal(begin.pool_labels, begin.pool[:, 0, 0] % 4)
