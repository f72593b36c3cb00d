"""How often a substitute says what the victim says."""

from __future__ import annotations

import msgspec
import numpy as np
from sklearn.metrics import f1_score

from gamekeeper.replay.theft import Images, Labels, Victim

NOISE = 4000
"""Images of uniform noise for the random uniform agreement (PRADA version 2, section IV-A b)."""


class Agreement(msgspec.Struct, frozen=True):
    """Shares 0..1 of answers that agree (PRADA version 2, section IV-A b).

    `macro_f` is the paper's test agreement, `accuracy` the plain share of equal classes on the
    same images, as papers before it give it; `random_uniform` is that share on uniform noise. A
    victim that sees one class in all noise is agreed with there by who always says that class.
    """

    macro_f: float
    accuracy: float
    random_uniform: float


def agreement(
    victim: Victim, thief: Victim, test: Images, seed: int, noise: int = NOISE
) -> Agreement:
    """Compare the top-1 classes of two models, the victim's taken as the truth.

    `test` are images that neither has seen, one at least; `seed` draws the images of `noise`.
    """
    truth, said = victim(test).labels, thief(test).labels
    shape = (noise, *test.shape[1:])
    drawn = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return Agreement(
        macro_f(truth, said),
        _equal(truth, said),
        _equal(victim(drawn).labels, thief(drawn).labels),
    )


def macro_f(truth: Labels, said: Labels) -> float:
    """Average the F-scores of all classes that occur in either `(n,)` labels.

    A class that only one of the two names scores 0.

    >>> macro_f(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    1.0
    """
    return float(f1_score(truth, said, average="macro", zero_division=0.0))


def _equal(truth: Labels, said: Labels) -> float:
    return float(np.mean(truth == said))
