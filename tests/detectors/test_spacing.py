"""Distances to nearest queries of one answer, against usual ones, as the obvious loop has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.spacing import LEAST, Spacing
from gamekeeper.schemas.errors import ProfileError

USUAL = (1.96, -0.053, 0.1)
TEXT = "1.96,-0.053,0.1"
fitted = Spacing.fitted
assert fitted is not None


def drawn(n: int, seed: int = 0, classes: int = 3) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Draw inputs and answers that have nothing to do with them."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 30)), rng.integers(0, classes, n) * 1000


def feed(
    inputs: NDArray[Any], labels: NDArray[np.int64], size: int, **options: Any
) -> tuple[list[float], list[dict[str, Any]]]:
    """Feed in batches."""
    detector, found, told = Spacing(usual=TEXT, **options), list[float](), []
    for at in range(0, len(labels), size):
        part = inputs[at : at + size]
        found += detector.update(Batch(at, part, labels[at : at + size])).tolist()
        told += [detector.evidence(row) for row in range(len(part))]
    return found, told


def obvious(
    inputs: NDArray[Any], labels: NDArray[np.int64], window: int, history: int
) -> tuple[list[float], set[tuple[int, int]]]:
    """Compare each query with those of its answer among the history before it."""
    rows = inputs.astype(np.float64)
    start, slope, deviation = USUAL
    parts, named = [], set()
    statistics = []
    for i in range(len(rows)):
        earlier = [j for j in range(max(0, i - history), i) if labels[j] == labels[i]]
        z = 0.0
        if earlier:
            distances = np.sqrt(((rows[earlier] - rows[i]) ** 2).sum(axis=1))
            d, j = distances.min(), earlier[int(distances.argmin())]
            usual = start + slope * math.log(min(i, history))
            z = float(np.clip((math.log(d) - usual) / deviation, -3, 3))
            if abs(z) >= 2:
                named.add((i, j))
        parts.append(round(1024 * z))
        total = abs(sum(parts[-window:])) / 1024 / math.sqrt(window)
        statistics.append(math.nan if i < 49 else total)
    return statistics, named


@pytest.mark.parametrize(("window", "history"), [(50, 60), (60, 1000)])
@pytest.mark.parametrize("form", ["floats", "bytes", "mixed"])
@pytest.mark.parametrize("size", [1, 50, 300])
def test_statistics_are_those_of_the_obvious_loop(
    size: int, form: str, window: int, history: int
) -> None:
    """Whatever the answers are, and whether inputs are kept as bytes or not."""
    inputs, labels = drawn(200)
    made = inputs[:60] + 0.3 * drawn(60, seed=1)[0]
    inputs = np.concatenate([inputs, made]).astype(np.float32)
    labels = np.concatenate([labels, labels[:60]])
    if form != "floats":
        inputs = np.clip(np.rint(2 * inputs + 8), 0, 255)
    if form == "mixed":
        inputs[130] += np.float32(0.5)
    found, told = feed(inputs, labels, size, window=window, history=history)
    expected, named = obvious(inputs, labels, window, history)
    assert np.array_equal(found, expected, equal_nan=True)
    assert {(odd["query"], odd["earlier"]) for each in told for odd in each["latest"]} == named
    assert named


@pytest.mark.parametrize(("scale", "mean"), [(0.1, -3.0), (30.0, 3.0)])
def test_both_sides_are_seen_and_told(scale: float, mean: float) -> None:
    """Variants of earlier queries lie nearer, other data farther; an answer alone says neither."""
    inputs, labels = drawn(200, classes=1)
    made = inputs[:100] + scale * drawn(100, seed=1)[0]
    inputs, labels = np.concatenate([inputs, made]), np.concatenate([labels, labels[:100]])
    found, told = feed(inputs, labels, 64, window=100)
    assert max(found[50:200]) < 5 < 25 < found[-1]
    assert told[-1]["mean"] == pytest.approx(mean, abs=0.2)
    said = Spacing.tell(told[-1])
    assert ("nearer to" if mean < 0 else "farther from") in said
    assert f"query {told[-1]['latest'][-1]['query']}, is" in said


def test_an_answer_that_is_new_says_nothing() -> None:
    """Nothing is there to compare with."""
    inputs, _ = drawn(200)
    found, told = feed(inputs, np.arange(200), 64)
    assert max(found[49:]) == 0
    assert "nearer" in Spacing.tell(told[-1])


def test_what_is_usual_is_fitted() -> None:
    """A line through the logarithms; a repeat in the readings is none."""
    rows = []
    for seed in range(6):
        inputs, labels = drawn(300, seed, classes=1)
        rows.append(np.column_stack([inputs, labels]))
        rows[-1][100:120] = rows[-1][:20]
    text = str(fitted.choose([fitted.read(each) for each in rows]))
    start, slope, deviation = map(float, text.split(","))
    assert (start, slope, deviation) == pytest.approx(USUAL, rel=0.15)
    assert isinstance(build("spacing", {"usual": text}), Spacing)


def test_data_of_one_distance_have_a_deviation_all_the_same() -> None:
    """As where all inputs are one-hot."""
    rows = np.column_stack([np.eye(40), np.zeros(40)])
    text = str(fitted.choose([fitted.read(rows)]))
    assert float(text.split(",")[2]) == LEAST


def test_too_few_distances_are_said() -> None:
    """With the option that would do."""
    with pytest.raises(ProfileError, match=r"0 distances of 2 accounts.*--set spacing\.usual="):
        fitted.choose([np.empty((0, 2)), fitted.read(np.zeros((1, 4)))])


@pytest.mark.parametrize(
    "options",
    [{}, {"usual": "1,2"}, {"usual": "1,2,0"}, {"usual": "1,nan,1"}, {"usual": "1,2,101"}]
    + [{"usual": TEXT, "window": each} for each in (49, 1001)],
)
def test_options_that_cannot_be_meant(options: dict[str, Any]) -> None:
    """They are refused with the option's name."""
    with pytest.raises(ProfileError, match=r"spacing\."):
        build("spacing", options)
