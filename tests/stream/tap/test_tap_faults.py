"""The tap and faulty requests: each is counted and said, and nothing is ever raised."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.stream.tap import MemoryTransport, QueryTap

IMAGE = np.arange(784, dtype=np.float32).reshape(1, 28, 28)


class Hostile:
    """An object that fails whatever is asked of it."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Fail."""
        raise RuntimeError("no array here")

    def __str__(self) -> str:
        """Fail."""
        raise ValueError("no text here")

    __repr__ = __str__
    __len__ = __array__
    __eq__ = __array__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class UnspeakableError(Exception):
    """An error that has no text."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError


class Explosive:
    """An object that fails with an error that has no text."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Fail."""
        raise UnspeakableError


FAULTY: list[tuple[Any, ...]] = [
    (None, IMAGE, [1]),
    ("", IMAGE, [1]),
    (7, IMAGE, [1]),
    ("\ud800", IMAGE, [1]),
    ("a" * 300, IMAGE, [1]),
    ("bob", None, [1]),
    ("bob", "text", [1]),
    ("bob", IMAGE, None),
    ("bob", IMAGE, 1),
    ("bob", IMAGE, []),
    ("bob", IMAGE, [1, 2]),
    ("bob", IMAGE, [[1]]),
    ("bob", IMAGE, [1.0]),
    ("bob", IMAGE, ["seven"]),
    ("bob", IMAGE, [-1]),
    ("bob", IMAGE, [2**70]),
    ("bob", IMAGE[0, 0, 0], [1]),
    ("bob", IMAGE * np.nan, [1]),
    ("bob", IMAGE + np.inf, [1]),
    ("bob", IMAGE.astype(complex), [1]),
    ("bob", np.array([object()]), [1]),
    ("bob", [[1.0, 2.0], [3.0]], [1, 2]),
    ("bob", np.empty((0, 3)), np.empty(0, int)),
    ("bob", np.empty((1, 0)), [1]),
    ("bob", IMAGE, [1], np.ones(1)),
    ("bob", IMAGE, [1], np.array([[-3.0, 4.0]])),
    ("bob", IMAGE, [1], "text"),
    ("bob", torch.ones(1, 3, dtype=torch.bfloat16), [1]),
    ("bob", torch.ones(1, 3, device="meta"), [1]),
    ("bob", Hostile(), [1]),
    ("bob", IMAGE, Hostile()),
    (Hostile(), IMAGE, [1]),
    ("bob", Explosive(), [1]),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arguments", FAULTY, ids=range(len(FAULTY)))
def test_faulty_requests_are_rejected_and_raise_nothing(
    tap: QueryTap, memory: MemoryTransport, arguments: tuple[Any, ...]
) -> None:
    """Whatever is passed, `record` returns, nothing is sent, one rejection is counted."""
    tap.record(*arguments)
    assert tap.flush()
    assert tap.stats().rejected == 1
    assert tap.record("bob", IMAGE, [1])  # and the tap lives on
    assert tap.flush()
    assert [event.labels for event in memory.events()] == [[1]]


@pytest.mark.parametrize(
    "more", [{"time": "now"}, {"time": -1}, {"id": 3}, {"id": ""}, {"embedding": [1]}]
)
def test_faulty_options_are_rejected(tap: QueryTap, more: dict[str, Any]) -> None:
    """A wrong time, id or embedding is a rejected request, too."""
    tap.record("bob", IMAGE, [1], **more)
    assert tap.flush()
    assert tap.stats().rejected == 1


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(arguments=st.tuples(anything, anything, anything, anything))
def test_record_never_raises(arguments: tuple[Any, ...]) -> None:
    """Any Python values: a bool comes back, and every call ends in one counter."""
    with QueryTap(model="digits", transport=MemoryTransport()) as tap:
        assert tap.record(*arguments) in (True, False)
        assert tap.flush()
        counts = tap.stats()
        assert counts.rejected + counts.delivered == 1


def test_warnings_are_few_and_name_the_fault(
    tap: QueryTap, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand faulty requests make one warning."""
    with caplog.at_level(logging.WARNING, "gamekeeper.tap"):
        for _ in range(1000):
            tap.record("bob", IMAGE, [1, 2])
        tap.close()
    (message,) = [record.getMessage() for record in caplog.records]
    assert "(1, 28, 28) for 2 labels" in message
    assert tap.stats().rejected == 1000
