"""Networks run once over all accounts' events, and each query gets its own row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.engine import Arrival, Source, featurized
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.tensor import Tensor


class Sums:
    """A featurizer: the sum of a row of 3; it remembers what it was called with."""

    sha256 = ""

    def __init__(self, name: str) -> None:
        """Make a feature of this name."""
        self.name = name
        self.calls: list[NDArray[Any]] = []

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Take rows of three numbers."""
        return shape == (3,)

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Add them up."""
        self.calls.append(inputs)
        return inputs.sum(axis=1, keepdims=True).astype(np.float32)


def arrival(offset: int, inputs: NDArray[Any], embedding: NDArray[Any] | None = None) -> Arrival:
    """Make an event of account 0, 1 or 2."""
    event = QueryEvent(
        id=str(offset),
        account=str(offset % 3),
        model="digits",
        time=0,
        inputs=Tensor.from_array(inputs),
        labels=[0] * len(inputs),
        embedding=None if embedding is None else Tensor.from_array(embedding),
    )
    return Arrival(event, Source("queries", 0, offset))


def test_one_call_serves_the_events_of_all_accounts():
    """Rows are stacked in order, and handed back to the events that they came from."""
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(n, 3)) for n in (1, 4, 2)]
    sums = Sums("sum")
    found = featurized([sums], [arrival(i, each) for i, each in enumerate(inputs)])
    [call] = sums.calls
    np.testing.assert_array_equal(call, np.concatenate(inputs))
    for each, own in zip(found, inputs, strict=True):
        np.testing.assert_array_equal(each.features["sum"][:, 0], own.sum(axis=1).astype("f4"))


def test_what_an_event_brings_itself_wins():
    """An event with its own embedding skips the encoder, and only that."""
    own = np.array([[7.0]], np.float64)
    encoder, other = Sums("embedding"), Sums("log_likelihood")
    bare, bringing = arrival(0, np.ones((2, 3))), arrival(1, np.ones((1, 3)), own)
    first, second = featurized([encoder, other], [bare, bringing])
    assert first.features["embedding"].tolist() == [[3.0], [3.0]]
    assert second.features["embedding"].tolist() == [[7.0]]
    assert second.features["embedding"].dtype == np.float32
    assert [len(call) for call in (*encoder.calls, *other.calls)] == [2, 3]


def test_rows_of_another_shape_have_no_feature():
    """A network takes what it was made for; dtypes are not mixed into one call."""
    sums = Sums("sum")
    events = [
        arrival(0, np.ones((1, 4))),
        arrival(1, np.ones((1, 3), np.uint8)),
        arrival(2, np.ones((1, 3))),
    ]
    found = [each.features for each in featurized([sums], events)]
    assert [list(each) for each in found] == [[], ["sum"], ["sum"]]
    assert [call.dtype for call in sums.calls] == [np.uint8, np.float64]


def test_orders_and_what_has_features_pass_through():
    """Nothing is computed twice."""
    sums = Sums("sum")
    done = arrival(0, np.ones((1, 3)))._replace(features={})
    order = Arrival(CloseOrder(account="0", model="m", finding="f", time=0), Source("q", 0, 1))
    assert featurized([sums], [done, order]) == [done, order._replace(features={})]
    assert sums.calls == []
