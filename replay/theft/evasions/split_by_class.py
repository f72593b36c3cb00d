"""Splitting by class: each account sends images of its own classes only."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import pairwise_distances_argmin

from gamekeeper.replay.theft import Floats, Images, Labels, Oracle, Reply, Request, Start
from gamekeeper.replay.theft.evasions.base import together
from gamekeeper.replay.theft.evasions.split import ACCOUNTS, from_accounts


def by_class(
    oracle: Oracle, start: Start, rng: np.random.Generator, *, accounts: int = ACCOUNTS
) -> Oracle:
    """Send images from `accounts` accounts by what the thief takes their class for.

    He cannot know the answer before he asks. He believes that an image has the class of the nearest
    (Euclidean, in pixels) image answered so far; for a crafted image that is mostly the one it was
    made of. To believe something early he cuts requests into parts no longer than what he knows:
    the first image goes alone, from account 0. Class c goes to account `c % accounts`.
    """
    known = _Known()

    def split(request: Request) -> Reply:
        parts, at = [], 0
        while at < len(request.images):
            rows = np.arange(at, min(at + max(1, known.size), len(request.images)))
            part = request._replace(images=request.images[rows])
            chosen = known.classes(part.images) % accounts
            reply = from_accounts(oracle, part, chosen, accounts, start.classes)
            known.add(part.images[reply.sent], reply.answers.labels)
            parts.append((rows, reply))
            at += len(rows)
        return together(len(request.images), parts, start.classes)

    return split


class _Known:
    """The images that were answered, with their classes."""

    def __init__(self) -> None:
        self.size = 0
        self._rows: list[Floats] = []
        self._labels: list[Labels] = []

    def add(self, images: Images, labels: Labels) -> None:
        self._rows.append(_flat(images))
        self._labels.append(labels)
        self.size += len(labels)

    def classes(self, images: Images) -> Labels:
        """Give `(n,)` classes of the nearest images; 0 where none is known."""
        if not self.size:
            return np.zeros(len(images), np.int64)
        self._rows, self._labels = [np.concatenate(self._rows)], [np.concatenate(self._labels)]
        nearest = pairwise_distances_argmin(_flat(images), self._rows[0])
        classes: Labels = self._labels[0][nearest]
        return classes


def _flat(images: Images) -> Floats:
    return images.reshape(len(images), -1).astype(np.float32)
