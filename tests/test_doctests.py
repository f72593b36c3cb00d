"""The examples in the docstrings of all four packages, run under their true import names."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = [
    ".".join(("gamekeeper", *path.relative_to(ROOT).with_suffix("").parts))
    for package in ("schemas", "detectors", "stream", "replay")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text()
]


# pytest's own --doctest-modules would import the root folders as `schemas`, `stream` and so on.
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str) -> None:
    """Every example in the module gives what it says it gives."""
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
