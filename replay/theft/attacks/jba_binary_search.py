"""JBA-BinarySearch: to the substitute's border, between an image and its adversarial example."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from gamekeeper.replay.theft import WHITE, Floats, Images, Labels, Oracle, Sent, Start
from gamekeeper.replay.theft.attacks.jba_pgd import EPOCHS, REACH, TARGETS, descend
from gamekeeper.replay.theft.craft import Aims, augment, likeliest
from gamekeeper.replay.theft.model import Classifier

CLOSE = 1e-6 * WHITE
"""A search ends when its ends differ by less: epsilon (Zhang and Wagner, section IV-A 2)."""
HALVINGS = 1000
"""Steps of a search at most (ibid.); pixels are that close after about 15."""


def jba_binary_search(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    k: int = TARGETS,
    reach: float = REACH,
    epochs: int = EPOCHS,
) -> Iterator[Sent]:
    """Steal with JBA-BS (Zhang and Wagner, sections III-A 3 and IV-A).

    As JBA-PGD, but what is sent lies on the substitute's border between the image's class and the
    target, found by halving the way to JBA-PGD's example; the victim is not asked meanwhile. The
    paper does not say which end of the last interval is sent: here the target's. Rounding to whole
    pixel values moves it off the border again by up to half a value. Where JBA-PGD's example does
    not reach the target it is sent as it is; with the paper's reach that is so for most images of
    MNIST.

    Args:
        oracle: the way to the model that is stolen.
        start: its seeds are the images of round 0.
        budget: the number of queries, seeds included.
        rng: decides initial weights, training order and where the steps begin.
        k: target classes per image.
        reach: the bound of JBA-PGD's perturbation, in pixel values.
        epochs: training epochs per round.

    Yields:
        The queries of each round.
    """

    def craft(model: Classifier, images: Images, labels: Labels, wanted: int) -> Floats:
        aims = likeliest(model, images, labels, k, wanted)
        return _halve(model, aims, descend(model, aims, reach, rng))

    return augment(oracle, start, budget, rng, craft, epochs=epochs, fresh=True)


def _halve(model: Classifier, aims: Aims, examples: Floats) -> Floats:
    """Search between each image and its example; a third class between them ends it."""
    near, far = aims.images.astype(np.float32), examples.copy()
    going = np.ones(len(far), np.bool_)
    for _ in range(HALVINGS):
        going &= np.abs(far - near).reshape(len(far), -1).max(axis=1) >= CLOSE
        if not going.any():
            break
        middle: Floats = (near + far) / np.float32(2)
        classes = _classify(model, middle)
        reached, own = going & (classes == aims.targets), going & (classes == aims.own)
        far[reached], near[own] = middle[reached], middle[own]
        going = reached | own
    return far


def _classify(model: Classifier, pixels: Floats) -> Labels:
    with torch.no_grad():
        classes: Labels = model.logits(torch.from_numpy(pixels)).argmax(dim=1).numpy()
    return classes
