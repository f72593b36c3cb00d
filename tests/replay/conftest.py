"""What the tests of traces and topics share: topics of the test's own."""

from __future__ import annotations

import pytest
from workers import prepare

from gamekeeper.stream.settings import Settings


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """Settings of the test's own topics, which exist."""
    return prepare(environ)
