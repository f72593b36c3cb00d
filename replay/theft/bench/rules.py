"""What a bench watches, and its rules: profiles, each with thresholds of its own.

A profile names a detector once; a bench has PRADA in two modes. So what is watched has names, and
rules are told apart by theirs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from gamekeeper.detectors.base import Floats
from gamekeeper.detectors.catalog import DETECTORS, FITTED, options_of
from gamekeeper.detectors.engine import DetectorProfile, Profile
from gamekeeper.replay.theft.bench.pools import Queries, Rows
from gamekeeper.replay.tune.calibration.account_rule import threshold
from gamekeeper.replay.tune.calibration.fitting import fill, read
from gamekeeper.replay.tune.calibration.journal import SECRET
from gamekeeper.schemas.errors import TraceError

COMBINED: Final = ("prada", *(name for name in FITTED if DETECTORS[name].feature))
"""The detectors of a profile with networks, which share its alpha."""
PAPERS: Final = (
    DetectorProfile(detector="prada", options={"mode": "paper"}),
    DetectorProfile(detector="prada-v1"),
)
"""What is watched beside them, as the papers have it."""
BESIDE: Final = DetectorProfile(detector="steps")
"""And what no network is needed for, and nobody's alpha is shared with."""
ALPHA: Final = Fraction(1, 100)
"""The lifetime false-alarm rate that thresholds promise."""
PER_QUERY: Final = Fraction(1, 10_000)
"""Alarms per benign query that Zhang and Wagner tune to (section VIII-A)."""
DELTAS: Final = (0.87, 0.90, 0.94, 0.95, 0.96)
"""PRADA's thresholds on W (version 2, Table VIII); an alarm is a W below."""


class Watched(msgspec.Struct, frozen=True):
    """The detectors of a bench by `label`, and its rules by name."""

    detectors: dict[str, DetectorProfile]
    rules: dict[str, Profile]


def label(detector: DetectorProfile) -> str:
    """Name a detector as it is watched: in the mode that its options say, if they do.

    >>> label(DetectorProfile(detector="prada", options={"mode": "paper"}))
    'prada-paper'
    """
    mode = detector.options.get("mode")
    return f"{detector.detector}-{mode}" if mode else detector.detector


def watch(queries: Queries, accounts: Rows) -> dict[str, DetectorProfile]:
    """Choose the detectors, and from honest `(accounts, life)` rows what is fitted to networks."""
    readings = [read(COMBINED[1:], (), queries.batches(rows)) for rows in accounts]
    detectors = [DetectorProfile(detector=name, options=_known(name)) for name in COMBINED]
    chosen = [fill(each, readings) if each.detector in FITTED else each for each in detectors]
    return {label(each): each for each in (chosen[0], *PAPERS, *chosen[1:], BESIDE)}


def _known(name: str) -> dict[str, Any]:
    """Give a detector the options that calibration does, but a secret that all benches share."""
    secret = {SECRET: 1} if SECRET in options_of(name) else {}
    return {**DETECTORS[name].steady, **secret}


def rules_of(
    detectors: Mapping[str, DetectorProfile], maxima: Mapping[str, Floats], life: int
) -> dict[str, Profile]:
    """Choose the thresholds of every rule from calibration accounts' chunks.

    * `combined`: the profile's detectors together, 1 % of lives, alpha split evenly;
    * the label of a detector: it alone, with all of alpha;
    * `NAME per query`: one alarm in 10,000 benign queries, were an account to end at its first;
    * `prada W < DELTA`: PRADA's Algorithm 3 at the paper's thresholds.

    Raises `TraceError` where too many accounts are too short for a detector to be ready.
    """
    largest = {name: values.max(axis=1).tolist() for name, values in maxima.items()}

    def promising(alpha: Fraction, names: Sequence[str]) -> tuple[DetectorProfile, ...]:
        least = {name: DETECTORS[detectors[name].detector].least for name in names}
        chosen = {name: max(threshold(largest[name], alpha), least[name]) for name in names}
        for name, value in chosen.items():
            if math.isinf(value):
                raise TraceError(
                    f"{name} is never ready in accounts of {life} queries, so that no threshold "
                    "can be chosen; leave --quick out"
                )
        return tuple(replace(detectors[name], threshold=value) for name, value in chosen.items())

    found = {"combined": promising(ALPHA / len(COMBINED), COMBINED)}
    for name in detectors:
        found[name] = promising(ALPHA, [name])
    for name in ("similarity", "likelihood"):
        found[f"{name} per query"] = promising(PER_QUERY * life, [name])
    for each in DELTAS:
        found[f"prada W < {each:.2f}"] = (replace(detectors["prada-paper"], threshold=1 - each),)
    return {name: Profile(name=name, detectors=own) for name, own in found.items()}


def limits(rule: Profile) -> dict[str, float]:
    """Give a rule's thresholds by `label`."""
    return {label(each): each.threshold for each in rule.detectors if each.threshold is not None}
