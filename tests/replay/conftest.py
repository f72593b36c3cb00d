"""What the tests of `replay` share: topics of the test's own, and one thread."""

from __future__ import annotations

import pytest
import torch

from gamekeeper.stream.kafka import Settings
from support.workers import prepare


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Several threads wait for each other longer than they compute: tests' networks are small."""
    torch.set_num_threads(1)


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Settings of the test's own topics, which exist."""
    return prepare(environ)
