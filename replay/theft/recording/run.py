"""One attack, from its start to what the victim saw and what the thief has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gamekeeper.replay.theft import (
    Attack,
    AttackOver,
    Evasion,
    Floats,
    Images,
    Labels,
    Oracle,
    Sent,
    Start,
    ask,
)
from gamekeeper.replay.theft.recording.recorder import Recorder, Seen


class Loot(NamedTuple):
    """The thief's labelled images, oldest first.

    `images` as he knows them (an evasion may have sent others in their place), `labels` `(n,)`,
    `probabilities` `(n, k)`. `paid` `(n,)` int64 counts the queries that the victim had seen when
    each answer was there: a thief stopped after q queries has the images with `paid <= q`. Exact
    where the images themselves are sent, one after the other; where an evasion sends more or fewer
    for a request, its answers are taken to come evenly.
    """

    images: Images
    labels: Labels
    probabilities: Floats
    paid: Labels


class Run(NamedTuple):
    """An attack that was run: the victim's view, the thief's, and why it ended early, if so."""

    seen: tuple[Seen, ...]
    loot: Loot
    over: str | None


def run(
    attack: Attack,
    recorder: Recorder,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    evasions: Sequence[Evasion] = (),
) -> Run:
    """Run an attack against the recorder's victim, through evasions, the first outermost.

    `budget` is the number of images that the attack asks for; evasions may send more, or fewer.
    What the attack draws from `rng` does not depend on the evasions.
    """
    oracle: Oracle = recorder
    for evasion, own in zip(reversed(evasions), rng.spawn(len(evasions)), strict=True):
        oracle = evasion(oracle, start, own)
    parts: list[tuple[Sent, int]] = []
    over = None
    try:
        for sent in attack(oracle, start, budget, rng):
            parts.append((sent, recorder.queries))  # noqa: PERF401  kept when it ends early
    except AttackOver as end:
        over = str(end)
    return Run(tuple(recorder.seen), _loot(parts, start), over)


def repeated(run: Run) -> Attack:
    """Ask again what an attack asked when it was recorded without evasions.

    The same queries as those of the attack itself, without its work, under evasions that leave
    its answers as they are (`evasions.catalog.CANDID`).
    """

    def attack(
        oracle: Oracle, start: Start, budget: int, rng: np.random.Generator
    ) -> Iterator[Sent]:
        for request, _ in run.seen:
            yield ask(
                oracle,
                request.images,
                synthetic=request.synthetic,
                round=request.round,
                probe=request.probe,
            )

    return attack


def _loot(parts: Sequence[tuple[Sent, int]], start: Start) -> Loot:
    empty = start.seeds[:0]
    paid, before = [], 0
    for sent, after in parts:
        paid.append(_spread(before, after, len(sent.images)))
        before = after
    none = np.zeros((0, start.classes), np.float32)
    return Loot(
        np.concatenate([empty, *(sent.images for sent, _ in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(sent.answers.labels for sent, _ in parts)]),
        np.concatenate([none, *(sent.answers.probabilities for sent, _ in parts)]),
        np.concatenate([np.zeros(0, np.int64), *paid]),
    )


def _spread(before: int, after: int, images: int) -> Labels:
    """Say by which query each of a request's images is answered, the last one by the last.

    >>> _spread(10, 13, 3).tolist(), _spread(10, 16, 2).tolist()
    ([11, 12, 13], [13, 16])
    """
    share = np.arange(1, images + 1) * (after - before)
    return before + -(-share // max(1, images))
