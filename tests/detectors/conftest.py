"""Lets the detectors' tests import what they share: oracles, digits, the contract."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.register_assert_rewrite("contract")
