"""What the tests of the contracts share: a plain event and a plain verdict to vary."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import Verdict


def _event(rows: int = 3, **changes: Any) -> QueryEvent:
    inputs = np.arange(rows * 4, dtype=np.float32).reshape(rows, 2, 2)
    fields: dict[str, Any] = {
        "id": "request-1",
        "account": "ada",
        "model": "digits",
        "time": 1_700_000_000_000_000,
        "inputs": Tensor.from_array(inputs),
        "labels": list(range(rows)),
        **changes,
    }
    return QueryEvent(**fields)


def _verdict(**changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "id": "v",
        "activity": "create",
        "finding": "f",
        "account": "ada",
        "model": "digits",
        "detector": "prada",
        "statistic": 0.25,
        "threshold": 0.05,
        "severity": "high",
        "queries": 120,
        "query": 119,
        "first_time": 1_700_000_000_000_000,
        "last_time": 1_700_000_060_000_001,
        "reason": "threshold",
        "evidence": {"w": 0.75, "distances": 101},
        "profile": "0123456789abcdef",
        "promise": {"alpha": 0.01},
        "topic": "gamekeeper.queries",
        "partition": 3,
        "offset": 41,
        "row": 2,
        **changes,
    }
    return Verdict(**fields)


@pytest.fixture(scope="session")
def make_event() -> Callable[..., QueryEvent]:
    """Make a valid event of `rows` queries, with fields changed by name."""
    return _event


@pytest.fixture(scope="session")
def make_verdict() -> Callable[..., Verdict]:
    """Make a valid verdict, with fields changed by name."""
    return _verdict
