"""What all evasions share: what they may do to an attack's requests, stated once.

An evasion is a function `evasion(oracle, start, rng, *, option=...)` that returns an oracle of its
own: it gets the requests of an attack and asks the oracle that it was given. The contract, proved
for every evasion by one shared test (`tests/replay/theft/evasions/test_contract.py`):

* **In the thief's terms.** A reply belongs to the images of the request, in their order: `sent`
  says which of them have an answer, whatever went to the victim in their place, from which
  account, and how many other images went with them. What the inner oracle has not sent is not
  answered.
* **Probes are sacred.** A request with `probe` gets the victim's answers to exactly its images:
  they are sent, all and unchanged, though perhaps from several accounts, at another pace, or with
  other images in between.
* **Real queries.** What is sent in an image's place is uint8 and of the same shape.
* **Marked.** What was made or changed goes out as `synthetic`, natural images that hide the attack
  do not.
* **No victim but the oracle.** An evasion knows the start, the requests and the answers.
* **It ends.** Where it can send nothing any more it raises `AttackOver`, which says why.
* **Deterministic.** The same requests, answers and `rng` make the same queries on one machine.

Evasions are put around each other, the first outermost. One that gives queries to several accounts
multiplies those that it is given, so that two of them never meet in one; what watches an account
(`dummy`, `filter`, `duplicates`, `constant-steps`) watches each of those that it is given. So
splitting comes before these, and pacing last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import Answers, Images, Labels, Oracle, Reply, Request, Start
from gamekeeper.schemas.errors import SettingsError

Rows = NDArray[np.intp]
"""Places of rows in a request."""


def together(count: int, parts: Sequence[tuple[Rows, Reply]], classes: int) -> Reply:
    """Put replies to parts of a request of `count` rows together again.

    Each part comes with the places of its rows; rows in no part were not sent. `classes` is the
    width of the answers where there is none.
    """
    none = Answers(np.zeros(0, np.int64), np.zeros((0, classes), np.float32))
    answers = [none, *(reply.answers for _, reply in parts)]
    places = np.concatenate([np.zeros(0, np.intp), *(rows[reply.sent] for rows, reply in parts)])
    order = np.argsort(places)
    sent = np.zeros(count, np.bool_)
    sent[places] = True
    labels = np.concatenate([each.labels for each in answers])
    probabilities = np.concatenate([each.probabilities for each in answers])
    return Reply(Answers(labels[order], probabilities[order]), sent)


def mixed(
    oracle: Oracle,
    request: Request,
    before: Labels,
    extras: Callable[[int], Images],
    classes: int,
    *,
    synthetic: bool,
) -> Reply:
    """Send a request with other images in between, whose answers are thrown away.

    `before[i]` of them, made by `extras(number)`, precede row i; they are marked `synthetic`.
    """
    parts = []
    for rows in np.split(np.arange(len(before)), np.flatnonzero(before)):
        if not len(rows):
            continue
        if before[rows[0]]:
            images = extras(int(before[rows[0]]))
            oracle(request._replace(images=images, synthetic=synthetic, probe=False))
        parts.append((rows, oracle(request._replace(images=request.images[rows]))))
    return together(len(before), parts, classes)


class Naturals:
    """The thief's pool, image by image in random order; begins again where it is used up."""

    def __init__(self, start: Start, rng: np.random.Generator) -> None:
        if not len(start.pool):
            raise SettingsError("this evasion sends natural images: give the thief a pool of them")
        self._pool = start.pool
        self._rng = rng
        self._order = np.zeros(0, np.intp)

    def take(self, count: int) -> Images:
        """Give the next `count` images."""
        while len(self._order) < count:
            again = self._rng.permutation(len(self._pool))
            self._order = np.concatenate([self._order, again])
        rows, self._order = self._order[:count], self._order[count:]
        return self._pool[rows]
