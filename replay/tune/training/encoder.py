"""The two phases of an encoder: it learns to classify, then to tell queries from their copies.

Zhang and Wagner, section VI-A: "an encoder f first train on a classification problem and learn to
extract features, then we train the encoder on the same dataset to minimize the contrastive loss".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from gamekeeper.detectors.networks import Classifier, MlpEncoder
from gamekeeper.replay.tune.training.data import Prepared
from gamekeeper.replay.tune.training.transforms import image_positives, vector_positives

MARGIN: Final = math.sqrt(10)
"""m of equation 6, the paper's."""
CHUNK: Final = 256
REACH: Final = 16 / 255
"""How far hardened positives are moved at most: twice the usual 8/255 of adversarial training."""
STEPS: Final = 2
"""Gradient steps of a hardened positive."""

Positives = Callable[[Tensor, Tensor], Tensor]
"""Makes x+ of rows and their labels, from torch's generator."""


class Classify:
    """Cross-entropy of a classifier; of an encoder's, the head is thrown away afterwards."""

    rate = 1e-3
    batch = 64

    def __init__(self, module: Classifier, data: Prepared, name: str = "classify") -> None:
        self.name = name
        self._data = data
        self.rows = len(data.train)
        self.module = module
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(module.parameters())

    def begin(self) -> None:
        """Let an encoder of vectors know the columns' scales."""
        trunk = self.module.trunk
        if isinstance(trunk, MlpEncoder):
            trunk.mean.copy_(self._data.mean)
            trunk.std.copy_(self._data.std)

    def loss(self, rows: Tensor) -> Tensor:
        """Give the mean cross-entropy of training rows."""
        logits = self.module(self._data.train[rows])
        return functional.cross_entropy(logits, self._data.labels[rows])

    def held_out(self) -> float:
        """Give the mean cross-entropy of the rows held out."""
        return functional.cross_entropy(self.logits(), self._data.held_labels).item()

    def accuracy(self) -> float:
        """Give the share of the rows held out that are classified as labelled."""
        return (self.logits().argmax(1) == self._data.held_labels).float().mean().item()

    @torch.no_grad()
    def logits(self) -> Tensor:
        """Classify the rows held out."""
        return torch.cat([self.module(rows) for rows in torch.split(self._data.held_out, CHUNK)])


class Contrast:
    """Equation 6 over an encoder that has learned to classify."""

    name = "contrast"
    rate = 1e-3
    batch = 64

    def __init__(self, encoder: nn.Module, data: Prepared, positives: Positives) -> None:
        self._data = data
        self._positives = positives
        self.rows = len(data.train)
        self.module = encoder
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(encoder.parameters())

    def begin(self) -> None:
        """Nothing: the encoder comes from the phase before."""

    def loss(self, rows: Tensor) -> Tensor:
        """Give the contrastive loss of training rows."""
        return self._loss(self._data.train[rows], self._data.labels[rows])

    @torch.no_grad()
    def held_out(self) -> float:
        """Give the mean contrastive loss of the rows held out."""
        count = max(1, len(self._data.held_out) // self.batch)
        places = torch.arange(len(self._data.held_out)).tensor_split(count)
        losses = [
            self._loss(self._data.held_out[rows], self._data.held_labels[rows]) * len(rows)
            for rows in places
        ]
        return torch.stack(losses).sum().item() / len(self._data.held_out)

    def _loss(self, x: Tensor, labels: Tensor) -> Tensor:
        both = torch.cat([x, self._positives(x, labels)])
        embedded, similar = self.module(both).chunk(2)
        return contrastive_loss(embedded, similar, embedded[nearest_others(embedded)])


def contrastive_loss(embedded: Tensor, similar: Tensor, others: Tensor) -> Tensor:
    """Equation 6, averaged over `(n, d)` embeddings of x0, x+ and x-.

    ||f(x0) - f(x+)||^2 + max(0, m^2 - ||f(x0) - f(x-)||^2)
    """
    near = (embedded - similar).square().sum(1)
    apart = (embedded - others).square().sum(1)
    return (near + functional.relu(MARGIN**2 - apart)).mean()


@torch.no_grad()
def nearest_others(embedded: Tensor) -> Tensor:
    """Find for each of `(n, d)` embeddings, two at least, the nearest other one.

    The paper takes any "different natural image" for x-. The nearest one of the batch is the most
    telling: a chance one is soon far enough away, and it is the nearest that makes false pairs.
    """
    distances = torch.cdist(embedded, embedded)
    return distances.fill_diagonal_(math.inf).argmin(1)


def positives_of(data: Prepared, victim: nn.Module | None) -> Positives:
    """Choose the transformations: the paper's for images, noise and lost columns for vectors.

    With a `victim` (its logits of prepared rows), half of the rows, by chance, get a few steps of
    an attack on it instead; see `hardened`.
    """

    def plain(x: Tensor, labels: Tensor) -> Tensor:
        if x.ndim > 2:
            return image_positives(x)
        return vector_positives(x, data.mean, data.std)

    def mixed(x: Tensor, labels: Tensor) -> Tensor:
        chosen = torch.rand(len(x)).to(x.device) < 0.5
        chosen = chosen.reshape(-1, *[1] * (x.ndim - 1))
        assert victim is not None
        return torch.where(chosen, hardened(x, labels, victim, data.std), plain(x, labels))

    return plain if victim is None else mixed


def hardened(x: Tensor, labels: Tensor, victim: nn.Module, std: Tensor) -> Tensor:
    """Move rows the way attacks move their seeds: signed gradient steps away from their labels.

    Projected gradient descent within a cube, as SEAT hardens its encoder. Half the cube's side is
    drawn per row, up to `REACH` of an image's range or of a vector's columns' `std`.
    """
    reach = REACH * torch.rand(len(x), *[1] * (x.ndim - 1)).to(x.device) * std
    moved = x
    with torch.enable_grad():
        for _ in range(STEPS):
            moved = moved.detach().requires_grad_()
            loss = functional.cross_entropy(victim(moved), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            # Steps that together lead a little beyond the cube, so that its corners are reached.
            moved = moved.detach() + 1.25 / STEPS * reach * gradient.sign()
            moved = torch.minimum(torch.maximum(moved, x - reach), x + reach)
    return moved.clamp(0, 1) if x.ndim > 2 else moved
