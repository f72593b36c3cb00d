"""How many adversarial examples made on a substitute fool the victim, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from gamekeeper.replay.theft import WHITE, Images, Labels, Victim, quantise
from gamekeeper.replay.theft.craft import signed_steps
from gamekeeper.replay.theft.model import Classifier

Method = Literal["random", "fgsm", "i-fgsm", "mi-fgsm"]

METHODS: tuple[Method, ...] = ("random", "fgsm", "i-fgsm", "mi-fgsm")
"""The rows of PRADA version 2, Table II."""
EPSILON = 64.0
"""The bound of each pixel's change, 64/255 (PRADA version 2, section IV-A b)."""
STEPS = 11
"""Steps of the iterative methods (ibid., section IV-B), each of `EPSILON / STEPS` (III-B)."""
DECAY = 1.0
"""The momentum's decay in MI-FGSM; the paper does not say, this is Dong et al.'s."""
TARGETS = 9
"""Targets per seed (ibid., section IV-A b): all other classes of MNIST."""


class Transfer(msgspec.Struct, frozen=True):
    """Transferability by one method, 0..1 (PRADA version 2, section IV-A b).

    With `c` the victim's class of a seed `x`, and `x'` the example made from it on the substitute:
    `non_targeted` is the share of seeds whose `x'`, made to leave `c`, the victim does not call
    `c`; `targeted` the share of seeds and targets `c' != c` whose `x'` the victim calls `c'`. What
    the substitute says of `x'` does not count. `l2` is the mean Euclidean distance of the
    non-targeted examples from their seeds with pixels scaled to [-1, 1], as in Table II.
    """

    non_targeted: float
    targeted: float
    l2: float


def transferability(
    victim: Victim,
    thief: Classifier,
    seeds: Images,
    seed: int,
    *,
    methods: Sequence[Method] = METHODS,
    targets: int = TARGETS,
) -> dict[str, Transfer]:
    """Attack the victim through the substitute, from natural images, one at least.

    Examples are rounded to uint8, as the victim's interface takes them. Where there are more than
    `targets` other classes, that many are drawn for each seed.
    """
    rng = np.random.default_rng(seed)
    classes = victim(seeds).labels
    wanted = _targets(classes, thief.classes, targets, rng)
    rows = np.repeat(np.arange(len(seeds)), wanted.shape[1])
    found: dict[str, Transfer] = {}
    for method in methods:
        away = _examples(method, thief, seeds, classes, False, rng)
        toward = _examples(method, thief, seeds[rows], wanted.reshape(-1), True, rng)
        found[method] = Transfer(
            float(np.mean(victim(away).labels != classes)),
            float(np.mean(victim(toward).labels == wanted.reshape(-1))),
            _distance(away, seeds),
        )
    return found


def _targets(classes: Labels, count: int, most: int, rng: np.random.Generator) -> Labels:
    """Draw `(n, min(most, count - 1))` different classes other than each image's own."""
    order = rng.permuted(np.tile(np.arange(count), (len(classes), 1)), axis=1)
    others = order[order != classes[:, None]].reshape(len(classes), count - 1)
    chosen: Labels = others[:, :most]
    return chosen


def _examples(
    method: Method,
    thief: Classifier,
    images: Images,
    classes: Labels,
    targeted: bool,
    rng: np.random.Generator,
) -> Images:
    """Move images toward or away from `(n,)` classes; `random` moves each pixel either way."""
    if method == "random":
        moves = EPSILON * rng.choice([-1.0, 1.0], images.shape)
        return quantise(images.astype(np.float32) + moves)
    steps = 1 if method == "fgsm" else STEPS
    moved = signed_steps(
        thief,
        images,
        classes,
        reach=EPSILON,
        step=EPSILON / steps,
        steps=steps,
        away=not targeted,
        decay=DECAY if method == "mi-fgsm" else None,
    )
    return quantise(moved)


def _distance(moved: Images, images: Images) -> float:
    """Give the mean Euclidean distance, pixels in [-1, 1]."""
    apart = (moved.astype(np.float64) - images).reshape(len(images), -1) / (WHITE / 2)
    return float(np.mean(np.linalg.norm(apart, axis=1)))
