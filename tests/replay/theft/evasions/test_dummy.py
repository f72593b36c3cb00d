"""Do dummies keep PRADA quiet where the plain attack is found, and at which cost?"""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import pytest

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.prada import Prada
from gamekeeper.replay.theft import AttackOver, Evasion, Request, Start
from gamekeeper.replay.theft.attacks.papernot import papernot
from gamekeeper.replay.theft.evasions.dummy import _best, dummy
from gamekeeper.replay.theft.evasions.shadow import Shadow
from gamekeeper.replay.theft.model import Classifier
from gamekeeper.replay.theft.recording import Recorder, Seen, run

BUDGET = 150


def statistics(mode: str, seen: tuple[Seen, ...]) -> np.ndarray:
    """Let a detector of its own judge what the victim saw."""
    images = np.concatenate([each.request.images for each in seen])
    labels = np.concatenate([each.answers.labels for each in seen])
    return Prada(mode=mode).update(Batch(0, images, labels))


@pytest.mark.parametrize("mode", ["hardened", "paper"])
def test_prada_stays_below_its_threshold(
    mode: Literal["hardened", "paper"], victim: Classifier, start: Start
) -> None:
    """The plain attack raises PRADA's statistic above the threshold, the one with dummies never."""
    threshold = Prada(mode=mode).threshold
    hiding: dict[str, list[Evasion]] = {"plain": [], "dummy": [partial(dummy, mode=mode)]}
    highest = {}
    for name, evasions in hiding.items():
        rng = np.random.default_rng(1)
        result = run(papernot, Recorder(victim), start, BUDGET, rng, evasions)
        assert result.over is None
        assert len(result.loot.images) == BUDGET
        highest[name] = np.nanmax(statistics(mode, result.seen))
    assert highest["plain"] > threshold
    assert highest["dummy"] < threshold


class Told(Shadow):
    """A shadow that foresees what it is told: the statistic after three dummies, and with more."""

    def __init__(self, own: list[float], after: list[float], now: float) -> None:
        super().__init__("hardened")
        self._own, self._after, self._now = own, after, now

    def expected(self, images: np.ndarray) -> np.ndarray:
        """Find no repeats."""
        return np.ones(len(images))

    def statistics(self, distances: np.ndarray, *then: float) -> np.ndarray:
        """Foresee what was told."""
        return np.array(self._after if then else self._own)

    def now(self) -> float:
        """Give what was told."""
        return self._now


@pytest.mark.parametrize(
    ("own", "now", "chosen"),
    [
        ([0.5, 0.02, 0.04], 0.02, [1]),
        ([0.5, 0.08, 0.07], 0.02, [2]),
        ([0.5, 0.2, 0.2], 0.02, []),
        ([0.5, 0.2, 0.3], 0.2, [1]),
        ([0.5, 0.2, 0.3], np.inf, [0]),
    ],
)
def test_no_dummy_raises_the_statistic_itself(
    start: Start, own: list[float], now: float, chosen: list[int]
) -> None:
    """The best below the level, or no higher than now, or the lowest; any before PRADA tests."""
    shadow = Told(own, [0.01, 0.02, 0.03], now)
    assert _best(shadow, start.pool[:3], start.pool[3:4], 0.05, 0.1).tolist() == chosen


def test_the_shadow_is_the_detector(victim: Classifier, start: Start) -> None:
    """What the thief foresees for a distance is what PRADA says once it is there."""
    labels = victim(start.pool).labels
    said = Prada(mode="paper").update(Batch(0, start.pool, labels))
    shadow = Shadow("paper")
    shadow.add(start.pool[:-1], labels[:-1])
    same = start.pool[:-1][labels[:-1] == labels[-1]].reshape(-1, 64).astype(np.float64)
    # The distance that counts is to one of its class, whichever of them joined.
    distances = np.linalg.norm(same - start.pool[-1].ravel(), axis=1)
    foreseen = shadow.statistics(distances)
    assert np.isclose(foreseen, said[-1], rtol=1e-9).any()


def test_a_thief_who_cannot_repair_gives_up(victim: Classifier, start: Start) -> None:
    """Where no dummy brings the statistic down to the level the attack is over."""
    oracle = dummy(Recorder(victim), start, np.random.default_rng(0), threshold=1e-6, patience=3)
    with pytest.raises(AttackOver, match="3 dummies in a row"):
        oracle(Request(start.pool, synthetic=False, round=0))
