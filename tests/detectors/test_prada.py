"""PRADA in its three modes: against the oracle, query by query, and against those who evade it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.prada import MODES, Prada
from gamekeeper.schemas.errors import ProfileError, StateError
from support import digits, oracle

KINDS = ["l2", "l1", "linf", "cosine"]
Queries = tuple[NDArray[Any], NDArray[np.int64]]


def statistics(queries: Queries, size: int = 10_000, **options: Any) -> NDArray[np.float64]:
    """Feed a detector in batches of a size."""
    detector = Prada(**options)
    inputs, labels = queries
    return np.concatenate(
        [
            detector.update(Batch(at, inputs[at : at + size], labels[at : at + size]))
            for at in range(0, len(labels), size)
        ]
    )


def check(queries: Queries, mode: str, kind: str, **options: int) -> None:
    """Compare with the oracle: statistics within 1e-9, decisions equal, in two batchings."""
    expected = oracle.prada(*queries, mode=mode, kind=kind, **options)
    for size in (13, 10_000):
        found = statistics(queries, size, mode=mode, distance=kind, **options)
        assert np.array_equal(np.isnan(found), np.isnan(expected))
        assert np.nanmax(np.abs(found - expected), initial=0.0) < 1e-9
        for threshold in (0.02, 0.04, 0.1, 0.3):
            assert np.array_equal(found > threshold, expected > threshold)


def mixed(n: int, seed: int) -> Queries:
    """Digits, then an attack on them, with repeated queries in between."""
    benign, attack = digits.digits(n // 2, seed), digits.augmented(n - n // 2, seed)
    inputs = np.concatenate([benign[0], attack[0]])
    labels = np.concatenate([benign[1], attack[1]])
    inputs[n // 3 : n // 3 + 15] = inputs[:15]
    labels[n // 3 : n // 3 + 15] = labels[:15]
    return inputs, labels


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
def test_digits_and_attacks(mode: str, kind: str) -> None:
    """All modes and distances agree with the oracle on digits and an attack."""
    check(mixed(500, 1), mode, kind, window=10_000)


@pytest.mark.parametrize("mode", MODES)
def test_forgetting(mode: str) -> None:
    """Bounded windows and growing sets agree with the oracle's."""
    check(mixed(600, 2), mode, "l2", window=150, growths=60)


def walks(seed: int, kind: str, scale: float) -> Queries:
    """Queries with ties, constants or near-duplicates, 260 of 6 values in 3 classes."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(260, 6))
    if kind == "grid":
        points = np.round(points * 2)
    elif kind == "constant":
        points[60:] = points[0]
    elif kind == "near":
        points[100:] = points[:160] + 1e-6 * rng.normal(size=(160, 6))
    elif kind == "steps":
        points = np.repeat(points[:26], 10, axis=0)
        points[:, 0] += np.tile(np.arange(10.0), 26)
    return points * scale, rng.integers(0, 3, 260)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["normal", "grid", "constant", "near", "steps"]),
    st.sampled_from([1e-150, 1e-30, 1.0, 1e60]),
    st.sampled_from(KINDS),
    st.sampled_from(MODES),
)
@example(132328, "grid", 1.0, "l2", "hardened")  # repeats that differ in the sign of a zero
@example(132328, "grid", 1.0, "l1", "hardened")  # a repeat that the model labels otherwise
def test_any_data(seed: int, kind: str, scale: float, distance: str, mode: str) -> None:
    """Ties, constants, near-duplicates and steps of any scale agree with the oracle."""
    check(walks(seed, kind, scale), mode, distance, window=120)


def first_alarm(queries: Queries, mode: str) -> int | None:
    """Give the query at which a mode's own threshold is passed."""
    detector = Prada(mode=mode)
    alarms = np.flatnonzero(detector.update(Batch(0, *queries)) > detector.threshold)
    return int(alarms[0]) if len(alarms) else None


def interleave(attack: Queries, padding: Queries) -> Queries:
    """Send, after each query of an attack, an equal share of the padding."""
    share = len(padding[1]) // len(attack[1])
    inputs, labels = [], []
    for i in range(len(attack[1])):
        part = slice(share * i, share * (i + 1))
        inputs += [attack[0][i : i + 1], padding[0][part]]
        labels += [attack[1][i : i + 1], padding[1][part]]
    return np.concatenate(inputs), np.concatenate(labels)


def joined(*parts: Queries) -> Queries:
    """Send one after the other."""
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def test_repeats_do_not_hide_an_attack() -> None:
    """Repeating all 30 times trims real distances away, W = 1 in paper mode; not in hardened."""
    rng = np.random.default_rng(0)
    seeds, steps = rng.normal(size=(2, 150, 50))
    steps *= rng.choice([4, 7], (150, 1)) / np.linalg.norm(steps, axis=1, keepdims=True)
    queries = np.concatenate([seeds, seeds + steps])
    attack = np.repeat(queries, 30, axis=0), np.repeat(np.tile(np.arange(150), 2), 30)
    assert first_alarm(attack, "paper") is None
    assert first_alarm(attack, "hardened") is not None


@pytest.mark.parametrize("repeated", range(300, 320))
def test_a_health_check_does_not_alarm(repeated: int) -> None:
    """A customer who sends one input again and again alarms in paper mode; not in hardened."""
    inputs, labels = digits.digits(900)
    inputs[repeated + 1 :: 2], labels[repeated + 1 :: 2] = inputs[repeated], labels[repeated]
    assert first_alarm((inputs, labels), "paper") is not None
    assert first_alarm((inputs, labels), "hardened") is None


def regular(n: int) -> Queries:
    """Pairs, each in a class of its own, whose distances are the quantiles of a normal sample."""
    quantiles = stats.norm.ppf((np.arange(n) + 0.625) / (n + 0.25))
    distances = 10 + np.random.default_rng(0).permutation(quantiles)
    return np.stack([0 * distances, distances], axis=1).reshape(-1, 1), np.arange(2 * n) // 2


def test_too_regular_distances_alarm() -> None:
    """Distances laid out to be normal have W near 1: paper sees nothing, hardened sees that."""
    assert first_alarm(regular(400), "paper") is None
    assert first_alarm(regular(400), "hardened") is not None


def test_constant_steps_alarm() -> None:
    """Steps of one and the same length leave no spread: W is 1 in paper mode, 1.0 in hardened."""
    steps = np.arange(300.0)[:, None] * np.ones((1, 16)), np.zeros(300, np.int64)
    assert first_alarm(steps, "paper") is None
    found = statistics(steps)
    assert np.all(found[~np.isnan(found)] == 1.0)


def test_padding_does_not_trim_an_attack_away() -> None:
    """Eight percent of attack among noise lies outside 3 sigma: trimmed by paper, kept here."""
    rng = np.random.default_rng(0)
    noise = rng.random((3000, 784), dtype=np.float32), np.zeros(3000, np.int64)
    seeds = rng.integers(0, 1000, 100)
    near = noise[0][seeds] + np.float32(0.1) * rng.choice(np.float32([-1, 1]), (100, 784))
    attack = near, np.zeros(100, np.int64)
    before, among = (noise[0][:1400], noise[1][:1400]), (noise[0][1400:2600], noise[1][1400:2600])
    queries = joined(before, interleave(attack, among))
    assert first_alarm(queries, "paper") is None
    assert first_alarm(queries, "hardened") is not None


def test_a_long_honest_life_does_not_hide_an_attack() -> None:
    """After 4,000 honest queries paper's D is full of them; hardened looks at the last 1,000."""
    queries = joined(digits.digits(4000, seed=9), digits.augmented(1000, seed=4))
    for mode, seen in (("paper", False), ("hardened", True)):
        found = statistics(queries, mode=mode)
        assert np.nanmax(found[:4000]) < 0.04
        assert (np.nanmax(found[4000:]) > 0.04) == seen


def test_few_queries_per_class_alarm_too() -> None:
    """An attack spread so that no class has ten distances is seen; the authors' code is blind."""
    inputs, labels = digits.augmented(400)
    order = np.argsort(labels, kind="stable")
    spread = np.empty_like(labels)
    spread[order] = np.arange(400) // 8 + 100 * labels[order]
    queries = inputs, spread
    assert np.isnan(statistics(queries, mode="reference")).all()
    assert not np.isnan(statistics(queries)).all()


@pytest.mark.parametrize("columns", [784, 20_000])
def test_noise_is_benign(columns: int) -> None:
    """Uniform noise has nearly equal distances, yet is no constant step."""
    rng = np.random.default_rng(0)
    noise = rng.random((250, columns), dtype=np.float32), rng.integers(0, 3, 250)
    assert first_alarm(noise, "hardened") is None


def test_evidence_says_what_the_statistic_rests_on() -> None:
    """Evidence after any row of a batch is that of the row, and its W gives the statistic."""
    inputs, labels = mixed(400, 0)
    for mode in MODES:
        detector = Prada(mode=mode)
        found = detector.update(Batch(0, inputs, labels))
        for row in (50, 250, 399):
            evidence = detector.evidence(row)
            if evidence["w"] is None:
                assert np.isnan(found[row])
            else:
                assert found[row] == 1 - evidence["w"]
            pairs = evidence["closest"]
            assert [p["distance"] for p in pairs] == sorted(p["distance"] for p in pairs)
            for pair in pairs:
                x, y = inputs[[pair["query"], pair["nearest"]]].astype(np.float64)
                assert pair["distance"] == pytest.approx(np.linalg.norm(x - y))
                assert pair["nearest"] < pair["query"] <= row


def test_other_options_are_refused_at_restore() -> None:
    """State saved with other options raises `StateError` and says so."""
    detector = Prada(mode="paper")
    with pytest.raises(StateError, match="start the account afresh"):
        Prada().load(detector.header(), [])


def test_unknown_options_are_refused() -> None:
    """Unknown detectors, options and values raise `ProfileError` that lists what is valid."""
    for name, options, listed in (
        ("prad", {}, "prada-v1"),
        ("prada", {"modus": "paper"}, "mode"),
        ("prada", {"mode": "soft"}, "hardened"),
        ("prada", {"distance": "l3"}, "cosine"),
        ("prada", {"window": "long"}, "int"),
        ("prada", {"window": 20}, "10000"),
        ("prada", {"growths": 0}, "1"),
        ("prada", {"mode": True}, "str"),
        ("prada-v1", {"window": 0}, "1000"),
    ):
        with pytest.raises(ProfileError, match=listed):
            build(name, options)
