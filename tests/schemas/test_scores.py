"""Scores are checked like all that comes in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.scores import decode_scores, encode_scores
from gamekeeper.schemas.tensor import Tensor

EVENT = QueryEvent(
    id="1",
    account="a",
    model="m",
    time=5,
    inputs=Tensor.from_array(np.zeros((2, 2), np.float32)),
    labels=[0, 1],
)


def _payload() -> bytes:
    return encode_scores(EVENT, 3, {"prada": np.array([np.nan, 0.5])})


def test_scores_survive_the_wire() -> None:
    """A statistic that is not ready is None."""
    scores = decode_scores(_payload())
    assert (scores.account, scores.model, scores.event, scores.time) == ("a", "m", "1", 5)
    assert (scores.query, scores.statistics) == (3, {"prada": [None, 0.5]})


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"[" * 2000 + b"]" * 2000, r"\$: "),
        (_payload().replace(b'"schema":1', b'"schema":7'), r"\$\.schema: 7 is not 1"),
        (_payload().replace(b'"query":3', b'"query":"x"'), r"\$\.query: Expected `int`"),
        (b'{"statistics": {"prada": ' + b"[" * 2000 + b"]" * 2000 + b"}}", r"\$"),
    ],
)
def test_a_fault_is_named_with_its_path(payload: bytes, fault: str) -> None:
    """As in query events, however deep it is nested."""
    with pytest.raises(SchemaError, match=fault):
        decode_scores(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_scores_or_a_schema_error(payload: bytes) -> None:
    """Nothing else is raised."""
    try:
        decode_scores(payload)
    except SchemaError:
        return
