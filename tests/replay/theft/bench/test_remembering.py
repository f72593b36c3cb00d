"""Does a victim that remembers answer as the victim does, and ask it once?"""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.theft import Answers, Images
from gamekeeper.replay.theft.bench.remembering import MOST, Remembering


class Counting:
    """A victim whose class is the first pixel, and which counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: Images) -> Answers:
        """Answer."""
        self.asked += 1
        return Answers(images[:, 0, 0].astype(np.int64), np.ones((len(images), 1), np.float32))


def test_the_same_images_are_asked_once() -> None:
    """Equal images get the first answer, others, and another shape of the same bytes, their own."""
    victim = Counting()
    remembering = Remembering(victim)
    images = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    assert remembering(images).labels.tolist() == remembering(images.copy()).labels.tolist()
    assert victim.asked == 1
    assert remembering(images.reshape(4, 2, 4)).labels.tolist() == [0, 8, 16, 24]
    assert victim.asked == 2


def test_only_the_latest_are_remembered() -> None:
    """What is kept is bounded: the oldest is asked again."""
    victim = Counting()
    remembering = Remembering(victim)
    for value in (*range(MOST + 1), 0):
        remembering(np.full((1, 2, 2), value, np.uint8))
    assert victim.asked == MOST + 2
