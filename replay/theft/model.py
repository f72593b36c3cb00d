"""A small convolutional classifier: a victim, and the attacks' substitutes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gamekeeper.replay.theft.base import WHITE, Answers, Floats, Images, Labels, Start

BATCH = 64
"""Images at a time, in training and in answering. The allocator gives back the activations of very
many more, and to be given them again takes longer than to compute them."""
RATES = {"adam": 1e-3, "sgd": 0.01}
"""Learning rates: PRADA version 2, section IV-A, and section II-F (Papernot's, momentum 0.9)."""
MIXED = any(torch.cpu.get_capabilities().get(each) for each in ("amx_bf16", "avx512_bf16"))
"""Whether training multiplies in bfloat16, weights staying float32: with either of the instruction
sets that this asks for, it takes half the time."""


class Architecture(NamedTuple):
    """Two blocks of convolution and pooling, then linear layers, ReLU between them.

    The MNIST model of PRADA version 2, Table I, with 3x3 kernels; its GTSRB model has `widths` of
    (64, 64) and `hidden` (200, 100). `dropout` is the share of the last hidden layer's units left
    out in training.
    """

    shape: tuple[int, ...]
    classes: int
    widths: tuple[int, int] = (32, 64)
    hidden: tuple[int, ...] = (200,)
    dropout: float = 0.0


class Classifier:
    """A network of one `Architecture` for uint8 images `(n, h, w)` or `(n, h, w, c)`.

    The same seed, data and number of torch threads give the same network on one kind of processor.
    Training goes on where the last `fit` stopped, optimiser included.
    """

    def __init__(
        self,
        architecture: Architecture,
        seed: int,
        optimiser: Literal["adam", "sgd"] = "adam",
        rate: float | None = None,
    ) -> None:
        self.architecture = architecture
        self.classes = architecture.classes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = _layers(architecture).eval()
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._shuffle = torch.Generator().manual_seed(seed)
        weights, rate = self.layers.parameters(), rate or RATES[optimiser]
        self._optimiser: torch.optim.Optimizer = (
            torch.optim.Adam(weights, lr=rate, fused=True)
            if optimiser == "adam"
            else torch.optim.SGD(weights, lr=rate, momentum=0.9)
        )

    def fit(self, images: Images, targets: Labels | Floats, epochs: int) -> None:
        """Train on images and their `(n,)` classes or `(n, k)` probabilities."""
        pixels, wanted = torch.from_numpy(images), torch.from_numpy(targets)
        loss = nn.CrossEntropyLoss()
        self.layers.train()
        for _ in range(epochs):
            order = torch.randperm(len(pixels), generator=self._shuffle)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(order[0]))  # dropout follows the seed, too
                for rows in torch.split(order, BATCH):
                    self._optimiser.zero_grad()
                    with torch.autocast("cpu", torch.bfloat16, enabled=MIXED):
                        lost = loss(self.logits(pixels[rows]), wanted[rows])
                    lost.backward()
                    self._optimiser.step()
        self.layers.eval()

    def __call__(self, images: Images) -> Answers:
        """Classify images."""
        probabilities = self._over(images, lambda rows: torch.softmax(self.logits(rows), dim=1))
        return Answers(probabilities.argmax(axis=1).astype(np.int64), probabilities)

    def features(self, images: Images) -> Floats:
        """Give `(n, d)` activations of the last hidden layer."""
        return self._over(images, lambda rows: self.layers[:-1](scaled(rows)))

    def gradient(self, pixels: Floats, classes: Labels) -> Floats:
        """Differentiate the loss with regard to each real pixel, 0..255, row by row.

        `classes` `(n,)` are the classes `c` of the loss L(F'(x), c).
        """
        inputs = torch.from_numpy(pixels).requires_grad_()
        loss = nn.functional.cross_entropy(
            self.logits(inputs), torch.from_numpy(classes), reduction="sum"
        )
        (gradient,) = torch.autograd.grad(loss, inputs)
        result: Floats = gradient.numpy()
        return result

    def logits(self, pixels: Tensor) -> Tensor:
        """Run the layers on pixels of 0..255 in any dtype."""
        logits: Tensor = self.layers(scaled(pixels))
        return logits

    @staticmethod
    def _over(images: Images, compute: Callable[[Tensor], Tensor]) -> Floats:
        with torch.no_grad():
            parts = torch.split(torch.from_numpy(images), BATCH)
            result: Floats = torch.cat([compute(each) for each in parts]).numpy()
        return result


def scaled(pixels: Tensor) -> Tensor:
    """Bring pixels to [-1, 1], as PRADA version 2 does (section IV-A), and to `(n, c, h, w)`."""
    values = pixels.float() / (WHITE / 2) - 1.0
    return (values.unsqueeze(3) if values.ndim == 3 else values).permute(0, 3, 1, 2)


def _layers(architecture: Architecture) -> nn.Sequential:
    height, width, *channels = architecture.shape
    first, second = architecture.widths
    layers: list[nn.Module] = [
        nn.Conv2d(channels[0] if channels else 1, first, 3, padding=1),
        nn.MaxPool2d(2),  # before ReLU: the same values, and a quarter as many to cut off
        nn.ReLU(),
        nn.Conv2d(first, second, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
    ]
    size = second * (height // 4) * (width // 4)
    for hidden in architecture.hidden:
        layers += [nn.Linear(size, hidden), nn.ReLU()]
        size = hidden
    if architecture.dropout:
        layers.append(nn.Dropout(architecture.dropout))
    return nn.Sequential(*layers, nn.Linear(size, architecture.classes))


def substitute(
    start: Start, rng: np.random.Generator, optimiser: Literal["adam", "sgd"] = "adam"
) -> Classifier:
    """Make the untrained substitute that the attacks share, for the victim's inputs."""
    architecture = Architecture(start.seeds.shape[1:], start.classes)
    return Classifier(architecture, int(rng.integers(2**31)), optimiser)
