"""Steps are those of the obvious loop: signs of gradients, and not what else is done to inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch, Segment
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.steps import APART, Steps
from gamekeeper.replay.theft import lens
from gamekeeper.schemas.errors import ProfileError
from support import digits

Images = NDArray[Any]
Floats = NDArray[np.float64]


def batch(first: int, inputs: Images) -> Batch:
    """Make queries of one class."""
    return Batch(first, inputs, np.zeros(len(inputs), np.int64))


def feed(inputs: Images, size: int = 64, **options: Any) -> list[float]:
    """Feed in batches."""
    detector = Steps(**options)
    found = []
    for at in range(0, len(inputs), size):
        found += detector.update(batch(at, inputs[at : at + size])).tolist()
    return found


def flatness(difference: Floats) -> float:
    """Divide L1 by L2 and the root of how many are not 0."""
    values = np.abs(difference[difference != 0])
    return values.sum() / np.sqrt((values**2).sum() * len(values)) if len(values) else 1.0


def obvious(inputs: Images, window: int, history: int) -> tuple[list[float], list[tuple[int, int]]]:
    """Compare each query with all of the history before it, one at a time."""
    rows = inputs.reshape(len(inputs), -1).astype(np.float64)
    pairs: list[tuple[int, int]] = []
    counts = []
    for i in range(len(rows)):
        earlier = range(max(0, i - history), i)
        squared = [((rows[i] - rows[j]) ** 2).sum() for j in earlier]
        if squared and min(squared):
            j = earlier[int(np.argmin(squared))]
            d = rows[i] - rows[j]
            changed, total = (d != 0).sum(), np.abs(d).sum()
            quantum = np.diff(sorted({*rows[i], *rows[j]})).min()
            others = {earlier[0], earlier[len(earlier) // 2], earlier[-1]} - {j}
            beside = min((flatness(rows[i] - rows[k]) for k in others), default=1.0)
            if (
                i - j >= 50
                and changed > 0.35 * len(d)
                and abs(d.sum()) < 0.8 * total
                and flatness(d) > 0.9
                and total / changed >= 2 * quantum
                and flatness(d) > beside + 0.05
            ):
                pairs.append((i, j))
        counts.append(float(sum(i - window < query for query, _ in pairs)))
    return counts, pairs


def grey(n: int = 150, seed: int = 0) -> NDArray[np.uint8]:
    """Draw digits in 256 grey values, on paper that is not white."""
    images, _ = digits.digits(n, seed=seed)
    return np.uint8(40 + 160 * images.reshape(n, 28, 28))


def signs(images: Images, size: float, rng: np.random.Generator) -> Images:
    """Move each pixel up or down by as much."""
    moved = images + size * rng.choice([-1, 1], images.shape)
    return np.clip(np.rint(moved), 0, 255).astype(images.dtype)


def mixed(inputs: Images) -> Images:
    """Make some of them queries that are not of bytes, from the middle on."""
    moved = inputs.astype(np.float32)
    moved[len(inputs) // 2 :: 7] += np.float32(0.25)
    return moved


@pytest.mark.parametrize(("window", "history"), [(100, 100), (100, 300), (1000, 3000)])
@pytest.mark.parametrize(
    ("size", "form"),
    [(1, None), (7, mixed), (64, None), (600, mixed), (64, lambda inputs: inputs / np.float32(2))],
    ids=["one", "seven, mixed", "64", "all, mixed", "64, floats"],
)
def test_steps_are_those_of_the_obvious_loop(
    window: int, history: int, size: int, form: Callable[[Images], Images] | None
) -> None:
    """Counts and pairs agree, with all that may pass for a step, of bytes and of floats."""
    rng, own = np.random.default_rng(1), grey()
    made = [signs(own[60:120], each, rng) for each in (1, 12)]
    noise = lens.noisy(own[:40], 6.0, rng)
    lit = lens.lit(own[100:140], np.ones(40), np.full(40, 9.0))
    inputs = np.concatenate([own, made[1], noise, lit, made[0], grey(120, seed=2)])
    inputs = inputs if form is None else form(inputs)
    counts, pairs = obvious(inputs, window, history)
    assert max(counts) > counts[-1] or window == 1000
    assert len(pairs) >= 45
    detector = Steps(window=window, history=history)
    found, named = [], set()
    for at in range(0, len(inputs), size):
        found += detector.update(batch(at, inputs[at : at + size])).tolist()
        for row in range(len(inputs[at : at + size])):
            latest = detector.evidence(row)["latest"]
            named |= {(each["query"], each["earlier"]) for each in latest}
    assert found == counts
    assert named == set(pairs)


CHANGES: dict[str, Callable[[Images, np.random.Generator], Images]] = {
    "noise": lambda images, rng: lens.noisy(images, 8.0, rng),
    "faint noise": lambda images, rng: lens.noisy(images, 0.6, rng),
    "light": lambda images, _: lens.lit(images, np.full(len(images), 1.0), np.full(60, 12.0)),
    "turned": lambda images, _: lens.turned(images, np.full(len(images), 4.0)),
    "moved": lambda images, _: lens.moved(images, np.full(60, 0.5), np.full(60, 0.5)),
    "blurred": lambda images, _: lens.blurred(images, np.full(len(images), 0.7)),
    "compressed": lambda images, _: lens.compressed(images, 40),
    "a region": lambda images, rng: np.concatenate(
        [signs(images[:, :6], 30, rng), images[:, 6:]], axis=1
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_happens_to_inputs_is_no_step(change: str) -> None:
    """Not more often than five in a thousand, which is what anybody may do."""
    own = grey()
    made = CHANGES[change](own[:60], np.random.default_rng(3))
    assert max(feed(np.concatenate([own, made]))) <= Steps.threshold


@pytest.mark.parametrize("size", [3, 8, 25])
def test_signs_of_any_size_are_steps(size: int) -> None:
    """Nearly all of them, from a hundredth to a tenth of the range on."""
    own = grey()
    found = feed(np.concatenate([own, signs(own[:60], size, np.random.default_rng(4))]))
    assert max(found[:150]) <= 1
    assert found[-1] >= 55


def test_inputs_of_two_values_make_no_steps() -> None:
    """All their differences are flat."""
    own = np.where(grey(300) > 90, np.uint8(255), np.uint8(0))
    rng = np.random.default_rng(5)
    made = np.where(rng.random(own[:100].shape) < 0.5, 255 - own[:100], own[:100])
    assert max(feed(np.concatenate([own, made]))) == 0


def test_the_scale_of_inputs_says_nothing() -> None:
    """Grey values, shares of white and standardised values make the same steps."""
    own = grey()
    inputs = np.concatenate([own, signs(own[:60], 10, np.random.default_rng(6))])
    expected = feed(inputs)
    assert feed(inputs / np.float32(256)) == expected
    assert feed((inputs.astype(np.float64) - 96) / 32) == expected


def test_what_follows_at_once_is_no_step() -> None:
    """Frames of a still scene are near, and whoever makes queries from answers waits for these."""
    own = grey(100)
    rng = np.random.default_rng(7)
    made = signs(own, 10, rng)
    paired = np.stack([own, made], axis=1).reshape(200, 28, 28)
    assert max(feed(paired)) == 0
    assert feed(np.concatenate([own[:APART], made[:APART]]))[-1] >= APART - 3


SMALL = {"window": 130, "history": 200}


def test_a_restored_detector_goes_on_with_the_same_window() -> None:
    """What was counted before is forgotten when it would have been."""
    own = grey(160)
    made = signs(own[:60], 10, np.random.default_rng(8))
    inputs = np.concatenate([own[:100], made, own[100:], grey(200, seed=9)])
    whole, saved, segments = feed(inputs, 300, **SMALL), Steps(**SMALL), list[Segment]()
    found = []
    for at in range(0, len(inputs), 50):
        found += saved.update(batch(at, inputs[at : at + 50])).tolist()
        segments += saved.drain()
        header, saved = saved.header(), Steps(**SMALL)
        saved.load(header, segments)
    assert found == whole
    assert max(whole) > whole[-1] + 40


@pytest.mark.parametrize(
    "options",
    [
        {"flat": 0.0},
        {"flat": 1.0},
        {"window": 99},
        {"window": 10_001},
        {"window": 1001, "history": 1000},
        {"megabytes": 0},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    """With what they are from and to."""
    with pytest.raises(ProfileError):
        build("steps", options)


@pytest.mark.parametrize(("columns", "steps"), [(64, 0), (100, 0), (144, 40)])
def test_few_values_have_no_steps(columns: int, steps: int) -> None:
    """Of 100 or fewer chance makes flat differences; of more the signs are seen."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=(100, columns))
    made = own[:40] + 0.2 * rng.choice([-1, 1], size=(40, columns))
    assert feed(np.concatenate([own, made]))[-1] == steps
