"""Images of a data set as uint8 with channels last: exactly, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from gamekeeper.replay.tune.datasets import pixels
from gamekeeper.schemas.errors import TraceError

EVERY = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)


@pytest.mark.parametrize(
    "inputs",
    [
        EVERY,
        EVERY.astype(np.float32) / 255,
        EVERY.astype(np.float64) / 255,
        EVERY.astype(np.float32),
        EVERY.astype(np.int64),
        EVERY[:, None],
    ],
    ids=["bytes", "unit float32", "unit float64", "float32", "int64", "channel first"],
)
def test_every_pixel_value_is_kept(inputs: NDArray[Any]) -> None:
    """Whatever form the 256 values came in."""
    found = pixels(inputs)
    np.testing.assert_array_equal(found, EVERY)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous


def test_colours_come_last() -> None:
    """Three channels that came first are moved; those that are last already stay, grey too."""
    last = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
    np.testing.assert_array_equal(pixels(last), last)
    np.testing.assert_array_equal(pixels(last.transpose(0, 3, 1, 2)), last)
    assert pixels(last[..., :1]).shape == (5, 6, 7, 1)


def test_whole_numbers_are_not_stretched() -> None:
    """scikit-learn's digits, 0..16 as float64, stay 0..16; truth values become black and white."""
    digits = load_digits().images[:50]
    np.testing.assert_array_equal(pixels(digits), digits)
    assert np.unique(pixels(digits > 8)).tolist() == [0, 255]


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (EVERY.astype(np.float32) - 1, "-1 to 254"),
        (EVERY.astype(np.int16) + 1, "1 to 256"),
        (EVERY.astype(np.float64) / 2, "0 to 127.5"),
        (EVERY.astype(np.float64) / 300, "steps of 1/255"),
        (EVERY.reshape(4, 64), r"shape \(64,\) are no images"),
        (EVERY.reshape(4, 4, 4, 4), "are no images"),
        (EVERY.reshape(8, 2, 16), "2x16 pixels; give 4 or more"),
    ],
)
def test_what_is_not_exact_is_refused(inputs: NDArray[Any], reason: str) -> None:
    """With the range or the shape that was found."""
    with pytest.raises(TraceError, match=reason):
        pixels(inputs)
