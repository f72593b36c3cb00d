"""Profiles of toys, whose statistics a trace chooses."""

from __future__ import annotations

import pytest

from gamekeeper.detectors import catalog
from gamekeeper.detectors.engine import DetectorProfile, Profile, override, resolve
from support.toys import Echo, Echo2


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile of two detectors that repeat what is sent."""
    for kind in (Echo, Echo2):
        monkeypatch.setitem(catalog.DETECTORS, kind.name, kind)
    names = (Echo.name, Echo2.name)
    return resolve(
        Profile(name="toys", detectors=tuple(DetectorProfile(detector=name) for name in names))
    )


@pytest.fixture
def echo(toys: Profile) -> Profile:
    """The first of them alone."""
    return override(toys, [], [Echo.name])
