"""A victim that is asked the same images again and again, by one thief after the other."""

from __future__ import annotations

from hashlib import blake2b

from gamekeeper.replay.attacks.base import Answers, Images, Victim

MOST = 8
"""Sets of images whose answers are kept: test images, and the noise of some runs."""


class Remembering:
    """A victim that answers what it was asked lately without computing it again."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self._known: dict[bytes, Answers] = {}

    def __call__(self, images: Images) -> Answers:
        """Answer as the victim does."""
        digest = blake2b(repr(images.shape).encode() + images.tobytes()).digest()
        if digest not in self._known:
            if len(self._known) == MOST:
                self._known.pop(next(iter(self._known)))
            self._known[digest] = self._victim(images)
        return self._known[digest]
