"""Rounds of images that are made without a substitute."""

from __future__ import annotations

from collections.abc import Iterator

from gamekeeper.replay.theft import Images, Labels, Oracle, Sent, Start, duplicate


def rounds(oracle: Oracle, start: Start, budget: int, made: Iterator[Images]) -> Iterator[Sent]:
    """Ask about the seeds, then about what is `made`, one endless batch after the other.

    Nothing is learnt in between: what is made does not depend on the answers.
    """

    def learn(images: Images, labels: Labels) -> None:
        """Train nothing."""

    def craft(images: Images, labels: Labels, wanted: int) -> Images:
        return next(made)[:wanted]

    return duplicate(oracle, start.seeds, budget, learn, craft)
