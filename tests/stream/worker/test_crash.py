"""A worker that is killed at random moments loses no verdict and changes none."""

from __future__ import annotations

import pytest

from support import crashing
from support.brokers import Broker

pytestmark = pytest.mark.broker


@pytest.mark.parametrize(("workers", "kills", "store"), [(1, 3, "rocksdb"), (2, 2, "memory")])
def test_kills_change_no_verdict(broker: Broker, workers: int, kills: int, store: str) -> None:
    """Verdicts under SIGKILLs, with one and two workers, equal those of an undisturbed run."""
    found = crashing.run(broker.address, kills=kills, workers=workers, seed=1, store=store)
    assert found.good, found
    assert found.topic.expected > 10
    assert not found.ended
