"""What the victim saw of a thief: every image as it arrived, with the answers given."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from gamekeeper.replay.theft import Answers, Images, Reply, Request, Victim


class Seen(NamedTuple):
    """One request at the victim's side, with its answers."""

    request: Request
    answers: Answers


class Memory(Protocol):
    """Answers of an earlier run of the same attack, see `journal.Journal`."""

    def recall(self, images: Images) -> Answers | None:
        """Give the answers to the next request, or None where the earlier run ended."""
        ...

    def keep(self, images: Images, answers: Answers) -> None:
        """Note the answers to a request that was not recalled."""
        ...


class Recorder:
    """An `Oracle` that asks the victim and keeps all that was sent, oldest first.

    `advance` is told the number of queries after each request. With a `memory`, what an earlier
    run of the same attack had asked is not asked again.
    """

    def __init__(
        self,
        victim: Victim,
        advance: Callable[[int], object] = lambda queries: None,
        memory: Memory | None = None,
    ) -> None:
        self._victim = victim
        self._advance = advance
        self._memory = memory
        self.seen: list[Seen] = []
        self.queries = 0
        """How many images were sent."""

    def __call__(self, request: Request) -> Reply:
        """Ask the victim; every image is sent."""
        images = request.images.copy()
        answers = self._memory.recall(images) if self._memory else None
        if answers is None:
            answers = self._victim(images)
            if self._memory:
                self._memory.keep(images, answers)
        self.seen.append(Seen(request._replace(images=images), answers))
        self.queries += len(images)
        self._advance(self.queries)
        return Reply(answers, np.ones(len(images), np.bool_))
