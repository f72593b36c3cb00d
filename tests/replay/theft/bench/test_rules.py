"""Do a bench's rules alarm where their names say?"""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from gamekeeper.detectors.catalog import DETECTORS, FITTED
from gamekeeper.detectors.engine import DetectorProfile, Profile, check_thresholds, resolve
from gamekeeper.detectors.steps import Steps
from gamekeeper.replay.theft.bench.pools import Queries
from gamekeeper.replay.theft.bench.rules import COMBINED, label, limits, rules_of, watch
from gamekeeper.schemas.errors import TraceError

NAMES = ("prada", "prada-paper", "prada-v1", "similarity", "likelihood", "ood", "steps")


@pytest.fixture(scope="module")
def queries() -> Queries:
    """Return 400 images that nobody attacks with."""
    rng = np.random.default_rng(3)
    features = {
        "embedding": rng.normal(size=(400, 8)).astype(np.float32),
        "log_likelihood": rng.normal(-50, 3, (400, 1)).astype(np.float32),
        "ood": rng.normal(size=(400, 1)).astype(np.float32),
    }
    images = rng.integers(0, 256, (400, 4, 4), dtype=np.uint8)
    return Queries(images, rng.integers(0, 3, 400), rng.random((400, 3), np.float32), features)


@pytest.fixture(scope="module")
def detectors(queries: Queries) -> dict[str, DetectorProfile]:
    """Return what is watched, fitted to ten accounts of 100 queries."""
    return watch(queries, np.arange(1000).reshape(10, 100) % 400)


@pytest.fixture(scope="module")
def rules(detectors: dict[str, DetectorProfile]) -> dict[str, Profile]:
    """Return the rules of 399 accounts whose largest statistics are 0 to 398."""
    largest = np.arange(399.0)
    maxima = {name: np.stack([largest - 5, largest], axis=1) for name in NAMES}
    return rules_of(detectors, maxima, life=2000)


def test_detectors_are_watched_with_what_is_fitted_to_the_networks(
    queries: Queries, detectors: dict[str, DetectorProfile]
) -> None:
    """Every fitted option comes from the accounts' features; what is drawn is always the same."""
    assert tuple(detectors) == NAMES
    assert all(label(each) == name for name, each in detectors.items())
    assert detectors["prada-paper"].options == {"mode": "paper"}
    assert detectors["similarity"].options["secret"] == 1
    assert detectors["similarity"].options["window"] == 1000
    rows = np.arange(1000).reshape(10, 100) % 400
    for name in COMBINED[1:]:
        fitted = FITTED[name]
        values = queries.features[DETECTORS[name].feature]
        chosen = fitted.choose([fitted.read(values[each]) for each in rows])
        assert detectors[name].options[fitted.option] == chosen


def test_what_an_interrupted_bench_has_chosen_is_read(
    detectors: dict[str, DetectorProfile],
) -> None:
    """A name, and under it detector and options, is all that its file needs to have."""
    written = {
        name: {"detector": each.detector, "options": each.options}
        for name, each in detectors.items()
    }
    text = msgspec.json.encode(written)
    assert msgspec.json.decode(text, type=dict[str, DetectorProfile]) == detectors


def test_thresholds_follow_the_account_rule(rules: dict[str, Profile]) -> None:
    """Of 399 accounts, 1 % leaves 3 above the threshold, a quarter of it none, 20 % of lives 79."""
    assert limits(rules["prada"]) == {"prada": 395.0}
    names = ("prada", "similarity", "likelihood", "ood")
    assert limits(rules["combined"]) == dict.fromkeys(names, 398.0)
    assert limits(rules["similarity per query"]) == {"similarity": 319.0}
    assert limits(rules["steps"]) == {"steps": 395.0}
    assert limits(rules["prada W < 0.90"]) == {"prada-paper": pytest.approx(0.1)}


def test_no_threshold_is_below_the_least_of_its_detector(
    detectors: dict[str, DetectorProfile],
) -> None:
    """Accounts that made no step say little of those to come."""
    maxima = {name: np.zeros((399, 2)) for name in NAMES}
    assert limits(rules_of(detectors, maxima, life=2000)["steps"]) == {"steps": Steps.least}


def test_rules_are_profiles_that_the_engine_takes(rules: dict[str, Profile]) -> None:
    """Each has its name, names a detector once, and can alarm by every one that it has."""
    for name, rule in rules.items():
        assert rule.name == name
        assert check_thresholds(resolve(rule)) == rule


def test_a_detector_that_is_never_ready_has_no_threshold(
    detectors: dict[str, DetectorProfile],
) -> None:
    """It is named, with what helps, rather than left out of its rules."""
    maxima = {name: np.arange(399.0)[:, None] for name in NAMES}
    maxima["prada-v1"] = np.full((399, 1), -np.inf)
    with pytest.raises(TraceError, match=r"prada-v1 is never ready in accounts of 150 queries"):
        rules_of(detectors, maxima, life=150)
