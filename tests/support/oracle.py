"""The obvious implementations: loops, numpy's mean and std, SciPy's Shapiro-Wilk test."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def between(kind: str, x: Floats, others: Floats) -> Floats:
    """Measure `(d,)` against `(k, d)`."""
    if kind == "l2":
        return np.sqrt(((others - x) ** 2).sum(axis=1))
    if kind == "l1":
        return np.abs(others - x).sum(axis=1)
    if kind == "linf":
        return np.abs(others - x).max(axis=1)
    return 0.5 * ((unit(others) - unit(x[None])) ** 2).sum(axis=1)


def unit(rows: Floats) -> Floats:
    """Scale rows to length 1; rows of zeros stay."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(largest > 0, largest, 1.0)
    length = np.sqrt((rows**2).sum(axis=1))[:, None]
    return rows / np.where(length > 0, length, 1.0)


class Member(NamedTuple):
    """One element of the growing set."""

    query: int
    label: int
    row: Floats
    distance: float


class Step(NamedTuple):
    """What one query did; `distance` is None where its class was empty."""

    distance: float | None
    nearest: int
    joined: bool
    size: int


def growing_set(
    inputs: NDArray[Any], labels: NDArray[np.int64], kind: str = "l2", growths: int = 4096
) -> list[Step]:
    """Run Algorithm 3's lines 4 to 19 over `(n, *shape)` queries."""
    rows = inputs.reshape(len(inputs), -1).astype(np.float64).clip(-1e100, 1e100)
    everyone: list[Member] = []
    threshold: dict[int, float] = {}
    steps = []
    for i, (x, c) in enumerate(zip(rows, labels.tolist(), strict=True)):
        members = [each for each in everyone if each.label == c]
        distance, nearest = None, -1
        if members:
            distances = between(kind, x, np.array([each.row for each in members]))
            distance = float(distances.min())
            nearest = members[int(distances.argmin())].query
        else:
            threshold[c] = 0.0
        joined = distance is None or distance > threshold[c]
        if joined:
            everyone.append(Member(i, c, x, distance or 0.0))
            grown = np.array([each.distance for each in everyone if each.label == c])
            threshold[c] = max(threshold[c], grown.mean() - grown.std())
            del everyone[:-growths]
        steps.append(Step(distance, nearest, joined, len(everyone)))
    return steps


def shapiro_wilk(values: Floats) -> float:
    """Ask SciPy; it takes tiny values for zeros, so scale them first."""
    values = np.sort(values)
    values = values - values[len(values) // 2]
    largest = np.abs(values).max()
    if largest == 0:
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(stats.shapiro(values / largest)[0])


def royston_z(w: float, n: int) -> float:
    """Normalise log(1 - W) as Royston (1995) does for n from 12."""
    if w == 1.0:
        return -np.inf
    log_n = np.log(n)
    mean = -1.5861 - 0.31082 * log_n - 0.083751 * log_n**2 + 0.0038915 * log_n**3
    std = np.exp(-0.4803 - 0.082676 * log_n + 0.0030302 * log_n**2)
    return float((np.log(1 - w) - mean) / std)


def trimmed(values: Floats, strict: bool) -> Floats:
    """Leave out what lies outside 3 standard deviations; ties count as the mode says."""
    deviations = np.abs(values - values.mean())
    if strict:
        return values[deviations < 3 * values.std() * (1 - 1e-9)]
    return values[deviations <= 3 * values.std() * (1 + 1e-9)]


def statistic(values: Floats, mode: str) -> float:
    """Turn D into the statistic of a mode."""
    kept = trimmed(values, strict=mode == "reference")
    if mode == "hardened" and len(kept) < 0.95 * len(values):
        kept = values
    if mode == "reference" and len(kept) <= 100:
        return np.nan
    w = shapiro_wilk(kept)
    if mode == "hardened":
        if kept.std() < 1e-4 * np.sort(kept)[len(kept) // 2]:
            return 1.0
        if royston_z(w, len(kept)) < -5:
            return 1.0
    return 1 - w


def prada(
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    *,
    mode: str,
    kind: str = "l2",
    window: int = 10_000,
    growths: int = 4096,
) -> Floats:
    """Run Algorithm 3 in one of its modes; `(n,)` statistics."""
    found: list[tuple[int, float]] = []
    stayed_out: list[int | None] = []  # of each distance's query: itself, if it did not join
    last = np.nan
    statistics = []
    for i, step in enumerate(growing_set(inputs, labels, kind, growths)):
        repeated = step.distance == 0 or any(
            q is not None and np.array_equal(inputs[i], inputs[q]) for q in stayed_out
        )
        if mode != "hardened" or step.joined:
            repeated = False
        if step.distance is not None and not repeated:
            found.append((int(labels[i]), step.distance))
            del found[:-window]
            stayed_out.append(None if step.joined else i)
            del stayed_out[:-window]
        if mode == "reference":
            if i % 10 == 0:
                classes = [label for label, _ in found]
                values = np.array([d for label, d in found if classes.count(label) >= 10])
                new = statistic(values, mode) if len(values) > 100 else np.nan
                last = last if np.isnan(new) else new
        elif len(found) > 100:
            last = statistic(np.array([d for _, d in found]), mode)
        statistics.append(last)
    return np.array(statistics)


def prada_v1(inputs: NDArray[Any], labels: NDArray[np.int64], window: int) -> Floats:
    """Run Algorithm 1: growth of the window before, over growth of this one."""
    joined = [step.joined for step in growing_set(inputs, labels)]
    ratios = []
    for n in range(1, len(joined) + 1):
        if n < 2 * window:
            ratios.append(np.nan)
        else:
            before, now = joined[n - 2 * window : n - window], joined[n - window : n]
            ratios.append((sum(before) + 1) / (sum(now) + 1))
    return np.array(ratios)
