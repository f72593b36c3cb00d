"""Are images featurized once, and given out in the order of sending?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft.bench.pools import STEP, Queries, featurize


def test_an_image_that_repeats_runs_through_the_networks_once() -> None:
    """Each image has its own features, in the order of sending."""
    shown: list[int] = []

    def network(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        shown.append(len(images))
        return images.reshape(len(images), -1).astype(np.float32)

    images = np.random.default_rng(5).integers(0, 256, (4, 4, 4), dtype=np.uint8)
    sent = images[[3, 1, 3, 3, 2, 1]]
    found = featurize({"embedding": network}, sent)["embedding"]
    np.testing.assert_array_equal(found, sent.reshape(6, -1))
    assert shown == [3]


def test_batches_are_what_one_account_sends_in_its_order() -> None:
    """Rows, answers and features stay together, and batches follow each other."""
    count = STEP + 50
    numbers = np.arange(count)
    queries = Queries(
        numbers.astype(np.uint8).reshape(-1, 1, 1),
        numbers,
        np.stack([numbers, -numbers], axis=1).astype(np.float32),
        {"embedding": numbers.astype(np.float32).reshape(-1, 1)},
    )
    rows = np.random.default_rng(0).permutation(count)
    batches = list(queries.batches(rows))
    assert [(each.first, len(each)) for each in batches] == [(0, STEP), (STEP, 50)]
    for each in batches:
        own = rows[each.first : each.first + len(each)]
        np.testing.assert_array_equal(each.labels, own)
        np.testing.assert_array_equal(each.inputs[:, 0, 0], own.astype(np.uint8))
        np.testing.assert_array_equal(each.features["embedding"][:, 0], own)
        assert each.probabilities is not None
        np.testing.assert_array_equal(each.probabilities[:, 0], own)
