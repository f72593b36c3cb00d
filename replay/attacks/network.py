"""A small convolutional classifier: the victim of the sample trace and the attacks' substitutes."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from gamekeeper.replay.attacks.base import WHITE, Answers, Floats, Images, Labels

BATCH = 64
CHUNK = 1024


class Classifier:
    """Two blocks of convolution and pooling, then two linear layers, ReLU between them.

    The MNIST model of PRADA version 2, Table I, with 3x3 kernels. Takes `(n, h, w)` images with
    pixels 0..255 and `h`, `w` of at least 4; knows `classes` classes. The same seed, data and
    number of torch threads give the same network. Training goes on where the last `fit` stopped,
    optimiser included: `adam` with learning rate 0.001, or `sgd` with learning rate 0.01 and
    momentum 0.9 (section II-F, Papernot's fixed strategy).
    """

    def __init__(
        self,
        shape: tuple[int, int],
        classes: int,
        seed: int,
        optimiser: Literal["adam", "sgd"] = "adam",
    ) -> None:
        self.classes = classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._layers = nn.Sequential(
                nn.Conv2d(1, 32, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(32, 64, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(64 * (shape[0] // 4) * (shape[1] // 4), 200),
                nn.ReLU(),
                nn.Linear(200, classes),
            )
        self._shuffle = torch.Generator().manual_seed(seed)
        self._loss = nn.CrossEntropyLoss(reduction="sum")
        weights = self._layers.parameters()
        self._optimiser: torch.optim.Optimizer = (
            torch.optim.Adam(weights, lr=1e-3)
            if optimiser == "adam"
            else torch.optim.SGD(weights, lr=0.01, momentum=0.9)
        )

    def fit(self, images: Images, labels: Labels, epochs: int) -> None:
        """Train on `(n, h, w)` uint8 images and their `(n,)` classes."""
        pixels, classes = torch.from_numpy(images), torch.from_numpy(labels)
        for _ in range(epochs):
            order = torch.randperm(len(pixels), generator=self._shuffle)
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                self._optimiser.zero_grad()
                loss = self._loss(self._logits(pixels[rows]), classes[rows]) / len(rows)
                loss.backward()
                self._optimiser.step()

    def __call__(self, images: Images) -> Answers:
        """Classify `(n, h, w)` uint8 images."""
        with torch.no_grad():
            pixels = torch.from_numpy(images)
            starts = range(0, len(pixels), CHUNK)
            logits = torch.cat([self._logits(pixels[start : start + CHUNK]) for start in starts])
            probabilities = torch.softmax(logits, dim=1).numpy()
        return Answers(probabilities.argmax(axis=1).astype(np.int64), probabilities)

    def gradient(self, pixels: Floats, classes: Labels) -> Floats:
        """Differentiate the loss with regard to each of `(n, h, w)` real pixels, row by row.

        `classes` `(n,)` are the classes `c` of the loss L(F'(x), c).
        """
        inputs = torch.from_numpy(pixels).requires_grad_()
        loss = self._loss(self._logits(inputs), torch.from_numpy(classes))
        (gradient,) = torch.autograd.grad(loss, inputs)
        result: Floats = gradient.numpy()
        return result

    def _logits(self, pixels: Tensor) -> Tensor:
        """Scale pixels to [-1, 1], as the paper does, and run the layers."""
        logits: Tensor = self._layers((pixels.float() / (WHITE / 2) - 1.0).unsqueeze(1))
        return logits


def steps_toward(
    model: Classifier, images: Images, classes: Labels, *, reach: float, step: float, steps: int
) -> Floats:
    """Move `(n, h, w)` images toward `(n,)` classes by `steps` signed gradient steps.

    The targeted iterative FGSM of PRADA version 2, section III-B; each pixel moves by `step` at
    a time, ends at most `reach` from where it began, and stays within 0..255.
    """
    start = images.astype(np.float32)
    low, high = np.maximum(start - reach, 0.0), np.minimum(start + reach, WHITE)
    pixels = start
    for _ in range(steps):
        pixels = np.clip(pixels - step * np.sign(model.gradient(pixels, classes)), low, high)
    return pixels
