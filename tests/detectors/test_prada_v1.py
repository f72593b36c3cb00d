"""PRADA's first version against the obvious implementation."""

from __future__ import annotations

import numpy as np
import pytest

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.prada_v1 import PradaV1
from support import digits, oracle


@pytest.mark.parametrize("window", [1, 10, 30])
@pytest.mark.parametrize("attack", [False, True])
def test_ratios_are_the_oracles(window: int, attack: bool) -> None:
    """Every ratio is the obvious one, in batches of any size."""
    inputs, labels = digits.augmented(400) if attack else digits.digits(400)
    expected = oracle.prada_v1(inputs, labels, window)
    for size in (1, 11, 400):
        detector = PradaV1(window=window)
        found = [
            detector.update(Batch(at, inputs[at : at + size], labels[at : at + size]))
            for at in range(0, 400, size)
        ]
        assert np.array_equal(np.concatenate(found), expected, equal_nan=True)


def test_the_bend_is_found() -> None:
    """The statistic passes its threshold soon after an attack's synthetic queries begin."""
    detector = PradaV1()
    found = detector.update(Batch(0, *digits.augmented(500)))
    assert np.nanmax(found[:100]) < detector.threshold
    assert np.nanmax(found) > detector.threshold
    row = int(np.flatnonzero(found > detector.threshold)[0])
    evidence = detector.evidence(row)
    assert found[row] == (evidence["growth_before"] + 1) / (evidence["growth"] + 1)
