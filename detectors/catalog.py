"""Which detectors there are, and how one is built from a name and plain options."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from gamekeeper.detectors.base import Detector, Fitted
from gamekeeper.detectors.likelihood import Likelihood
from gamekeeper.detectors.novelty import Novelty
from gamekeeper.detectors.out_of_distribution import OutOfDistribution
from gamekeeper.detectors.prada import Prada
from gamekeeper.detectors.prada_v1 import PradaV1
from gamekeeper.detectors.rate import Rate
from gamekeeper.detectors.similarity import Similarity
from gamekeeper.detectors.spacing import Spacing
from gamekeeper.detectors.steps import Steps
from gamekeeper.schemas.errors import ProfileError

DETECTORS: dict[str, type[Detector]] = {
    kind.name: kind
    for kind in (
        Prada,
        PradaV1,
        Similarity,
        Likelihood,
        OutOfDistribution,
        Rate,
        Steps,
        Spacing,
        Novelty,
    )
}

FEATURES: tuple[str, ...] = tuple(sorted({kind.feature for kind in DETECTORS.values()} - {""}))
"""The features that some detector reads."""
FITTED: dict[str, Fitted] = {
    name: kind.fitted for name, kind in DETECTORS.items() if kind.fitted is not None
}
"""Detectors with an option that calibration fits, and which."""


def options_of(name: str) -> Mapping[str, inspect.Parameter]:
    """Give a detector's options with their defaults; `ProfileError` for an unknown name."""
    kind = DETECTORS.get(name)
    if kind is None:
        raise ProfileError(f"unknown detector {name!r}; there are: {', '.join(sorted(DETECTORS))}")
    return _signature(kind).parameters


_signature = cache(inspect.signature)
"""Read once for each class: every new account asks for those of its detectors."""


def build(name: str, options: Mapping[str, Any]) -> Detector:
    """Build a fresh detector; options are the keyword arguments of its class.

    Raises `ProfileError` for an unknown name, option or value, listing what is valid.
    """
    valid = options_of(name)
    for option, value in options.items():
        if option not in valid:
            raise ProfileError(
                f"{name} has no option {option!r}; it has: {', '.join(valid) or 'none'}"
            )
        _check_type(f"{name}.{option}", value, type(valid[option].default))
    return DETECTORS[name](**options)


def _check_type(option: str, value: object, expected: type) -> None:
    """Refuse a value that is not of its default's type; whole numbers pass as floats."""
    fits = type(value) is expected or (expected is float and type(value) is int)
    if not fits:
        raise ProfileError(f"{option} takes a value of type {expected.__name__}, not {value!r}")
