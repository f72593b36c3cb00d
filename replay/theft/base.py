"""What all attacks share: what a thief starts with, whom he asks, what he gets; stated once.

An attack is a generator `attack(oracle, start, budget, rng, *, option=...)` of `Sent`. The
contract, proved for every attack by `tests/replay/theft/attacks/test_contract.py`:

* **Through the oracle only.** Every query goes through `ask`; the attack never sees the victim.
  It learns from the `Sent` that `ask` returns, not from what it handed in: an evasion may have
  left rows out or changed what the victim saw.
* **Real queries.** Images are uint8, as a public image interface takes them. An attack that
  computes in real numbers rounds *before* it asks, so that a label belongs to the image beside it.
* **Within budget.** It never has more than `budget` images answered, and asks until it has, or
  has no more to ask; what an evasion leaves out costs nothing (Zhang and Wagner, section VIII-A 3).
* **Marked.** `synthetic` and `round` say what each query is; natural images are sent unchanged.
* **Yields at once.** What was asked is yielded before more is asked, so that whoever iterates can
  stop at any query.
* **Deterministic.** The same start, answers and `rng` make the same queries on one machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
"""`(n, h, w)` grey or `(n, h, w, c)` colour images."""
Labels = NDArray[np.int64]
Floats = NDArray[np.float32]

WHITE = 255.0
"""The largest pixel value; the papers' step sizes `e/255` are `e` in these units."""


class Answers(NamedTuple):
    """What the victim says: `(n,)` top-1 classes and `(n, k)` probabilities."""

    labels: Labels
    probabilities: Floats


Victim = Callable[[Images], Answers]
"""The protected model: images in, answers out."""


class Request(NamedTuple):
    """Images on their way to the victim, with what the thief knows of them.

    `synthetic` says whether an attack crafted them; `round` is 0 for the initial data and then
    counts the duplication rounds. A `probe` needs the answer to exactly these images (a line
    search, a finite difference): evasions send it unchanged. `account` is the one of the thief's
    accounts that sends them, `pause` the seconds that he waits before each image.
    """

    images: Images
    synthetic: bool
    round: int
    probe: bool = False
    account: int = 0
    pause: float = 0.0


class Reply(NamedTuple):
    """Answers to the images of a request that were `sent`, `(n,)` bools; the others have none."""

    answers: Answers
    sent: NDArray[np.bool_]


Oracle = Callable[[Request], Reply]
"""The way to the victim: a recorder, or an evasion around another oracle."""


class Sent(NamedTuple):
    """What the thief has of one request: the images that he got answers for, and the answers."""

    images: Images
    answers: Answers
    synthetic: bool
    round: int


class Start(NamedTuple):
    """What a thief starts with.

    `seeds` are natural images like those that the victim was trained on, the same number of each
    class; `pool` are natural images that he can get anywhere, with `pool_labels` `(n,)` the
    classes that their collector gave them, if he did. An attack that needs no images takes their
    shape only. `classes` is the number of the victim's classes.
    """

    seeds: Images
    classes: int
    pool: Images
    pool_labels: Labels | None = None


class AttackOver(Exception):  # noqa: N818  no error: the thief gives up
    """An evasion leaves the attack no way to go on; says why."""


def quantise(pixels: NDArray[Any]) -> Images:
    """Round real pixels of any shape to the uint8 range 0..255 that the interface takes."""
    images: Images = np.rint(np.clip(pixels, 0.0, WHITE)).astype(np.uint8)
    return images


def ask(
    oracle: Oracle,
    images: Images,
    *,
    synthetic: bool,
    round: int,  # noqa: A002  the column's name
    probe: bool = False,
) -> Sent:
    """Send images to the victim and note those that were answered together with the answers."""
    reply = oracle(Request(images, synthetic, round, probe))
    return Sent(images[reply.sent], reply.answers, synthetic, round)


def duplicate(
    oracle: Oracle,
    seeds: Images,
    budget: int,
    learn: Callable[[Images, Labels], None],
    craft: Callable[[Images, Labels, int], NDArray[Any]],
) -> Iterator[Sent]:
    """Extract a model in duplication rounds (PRADA version 2, section II-E, Algorithm 1).

    `seeds` are the natural images of round 0. Then, until `budget` images were answered:
    `learn(images, labels)` trains the substitute on all that was labelled so far and
    `craft(images, labels, wanted)` makes new `(m, ...)` images from it, which are sent in turn as
    long as there is budget. `wanted` is what is left of it, and more where an evasion left out a
    part of the round before, lest a round be trained for every few of the last queries; where it
    left out all, as if half an image had come through.
    """
    sent = ask(oracle, seeds[:budget], synthetic=False, round=0)
    left = budget - len(sent.images)
    images, labels = sent.images, sent.answers.labels
    yield sent
    wanted = left
    for number in count(1):
        if not left or not len(images):
            return
        learn(images, labels)
        crafted = quantise(craft(images, labels, wanted))
        asked, before = 0, left
        while left and asked < len(crafted):
            part = crafted[asked : asked + left]
            sent = ask(oracle, part, synthetic=True, round=number)
            asked += len(part)
            left -= len(sent.images)
            images = np.concatenate([images, sent.images])
            labels = np.concatenate([labels, sent.answers.labels])
            yield sent
        wanted = -(-2 * left * asked // max(1, 2 * (before - left)))


Attack = Callable[[Oracle, Start, int, np.random.Generator], Iterator[Sent]]
"""An attack with its options filled in; see `base`."""
Evasion = Callable[[Oracle, Start, np.random.Generator], Oracle]
"""A way to hide, with its options filled in: puts another oracle before one."""
