"""PRADA as a thief runs it for himself, to know what a query would do before he sends it."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_argmin_min

from gamekeeper.detectors.growing import GrowingSet
from gamekeeper.detectors.normality import Sample
from gamekeeper.detectors.normality import modes as prada_modes
from gamekeeper.replay.theft import Floats, Images, Labels

Distances = NDArray[np.float64]
Mode = Literal["hardened", "paper"]

SOON = prada_modes.READY // 2
"""Distances in D from which it is judged. PRADA begins at twice as many, and D is normal by then
only if it was cared for before."""


class Shadow:
    """The parts of `detectors.prada`, for one account, with questions before the fact."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._growing = GrowingSet()
        self._window = prada_modes.WINDOWS[mode]
        self._distances: deque[float] = deque(maxlen=self._window)
        self._queries = 0
        self._members: list[Images] = []
        self._rows: Floats = np.zeros((0, 0), np.float32)

    def add(self, images: Images, labels: Labels) -> None:
        """Note images that were sent and their answers."""
        steps = self._growing.update(self._queries, images, labels)
        self._queries += len(images)
        for image, distance, joined in zip(images, steps.distance, steps.joined, strict=True):
            if joined:
                self._join(image)
            repeated = self._mode == "hardened" and distance == 0.0 and not joined
            if not (math.isnan(distance) or repeated):
                self._distances.append(float(distance))

    def _join(self, image: Images) -> None:
        if not self._members:
            self._rows = np.zeros((64, image.size), np.float32)
        elif len(self._members) == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[len(self._members)] = image.ravel()
        self._members.append(image)

    def draw(self, count: int, rng: np.random.Generator) -> Images:
        """Give members of the growing set at random."""
        return np.stack([self._members[i] for i in rng.integers(len(self._members), size=count)])

    def farthest(self) -> float:
        """Give the largest distance in D."""
        return max(self._distances)

    def now(self) -> float:
        """Give PRADA's statistic as it is; infinity where the next query is not tested, either."""
        if len(self._distances) < prada_modes.READY:
            return math.inf
        sample = Sample(len(self._distances))
        sample.fill(np.array(self._distances))
        return self._judge(sample)

    def expected(self, images: Images) -> Distances:
        """Guess the distances that images will have: to the nearest member of any class.

        The class is not known before the answer, but a neighbour mostly shares it.
        """
        if not self._members:
            return np.zeros(len(images))
        rows = images.reshape(len(images), -1).astype(np.float32)
        known = self._rows[: len(self._members)]
        _, distances = pairwise_distances_argmin_min(rows, known)
        expected: Distances = distances.astype(np.float64)
        return expected

    def statistics(self, distances: Distances, *then: float) -> Distances:
        """Say what PRADA's statistic would be after each of the distances, and `then` more.

        0 while there are fewer than `SOON`; a D too short for PRADA is judged as if it were
        repeated.
        """
        known = np.array([*self._distances, *then])
        if len(known) < SOON:
            return np.zeros(len(distances))
        known = np.tile(known, -(-(prada_modes.READY + 1) // len(known)))
        known = known[max(0, len(known) + 1 - self._window) :]
        sample = Sample(len(known) + 1)
        sample.fill(np.append(known, distances[0]))
        found = [self._judge(sample)]
        for before, distance in pairwise(distances):
            sample.replace(before, distance)
            found.append(self._judge(sample))
        return np.array(found)

    def _judge(self, sample: Sample) -> float:
        result = prada_modes.test(self._mode, sample)
        return prada_modes.judge(self._mode, result) if result else 0.0
