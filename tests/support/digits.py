"""Digit-like queries made from scikit-learn's bundled digits, as many as a test wants."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

SIDE = 28


def digits(
    n: int, seed: int = 0, noise: float = 0.02
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw `n` handwritten digits in a hand of their own: `(n, 784)` in [0, 1], labels `(n,)`.

    Each is one of the 1,797 digits, turned, sheared, scaled and moved a little at 28x28, so that
    queries differ as much as people's digits do and none is drawn twice.
    """
    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    chosen = rng.integers(0, len(images), n)
    sources = np.pad(images[chosen].reshape(n, 8, 8) / 16.0, ((0, 0), (2, 2), (2, 2)))
    turn = rng.normal(0, 0.22, (n, 1, 1))
    shear = rng.normal(0, 0.25, (n, 1, 1))
    scale = rng.normal(1.0, 0.12, (n, 2, 1, 1)).clip(0.7, 1.4) * 8 / 20
    move = rng.normal(0, 0.4, (n, 2, 1, 1))
    y, x = np.mgrid[:SIDE, :SIDE][:, None] - (SIDE - 1) / 2
    rows = (np.cos(turn) * y + np.sin(turn) * x) * scale[:, 0] + move[:, 0] + 5.5
    columns = (np.cos(turn) * x + (shear - np.sin(turn)) * y) * scale[:, 1] + move[:, 1] + 5.5
    ink = _bilinear(sources, rows.clip(0, 10.999), columns.clip(0, 10.999))
    ink = (ink * rng.uniform(0.9, 1.6, (n, 1, 1))).clip(0, 1)
    ink = (ink + rng.normal(0, noise, ink.shape)).clip(0, 1)
    return ink.reshape(n, -1).astype(np.float32), labels[chosen].astype(np.int64)


def _bilinear(
    images: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    each = np.arange(len(images))[:, None, None]
    y, x = rows.astype(int), columns.astype(int)
    down, right = rows - y, columns - x
    upper = images[each, y, x] * (1 - right) + images[each, y, x + 1] * right
    lower = images[each, y + 1, x] * (1 - right) + images[each, y + 1, x + 1] * right
    return upper * (1 - down) + lower * down


def augmented(n: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Attack with Jacobian-based augmentation: 100 digits, then all so far with a step of 0.1.

    Signs of the steps are drawn for each class and round, as a substitute's gradient would be
    nearly the same for like inputs. `(n, 784)` in [0, 1], labels `(n,)`.
    """
    rng = np.random.default_rng(seed)
    inputs, labels = digits(min(n, 100), seed)
    while len(inputs) < n:
        signs = rng.choice(np.float32([-1, 1]), (10, SIDE * SIDE))
        steps = (inputs + np.float32(0.1) * signs[labels]).clip(0, 1)
        inputs, labels = np.concatenate([inputs, steps]), np.concatenate([labels, labels])
    return inputs[:n], labels[:n]
