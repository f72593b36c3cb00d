"""Encoders: the trunks of networks, prepared images or vectors to embeddings."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from gamekeeper.detectors.networks.spec import ConvEncoderSpec, MlpEncoderSpec


class ConvEncoder(nn.Module):
    """Embeds images, `(n, c, h, w)` to `(n, dimensions)`.

    Zhang and Wagner, sections VI-A and VIII-A: convolutions of 32, 32, pool, 64, 64, pool, then
    linear layers of 512 and 256 (`channels`, `hidden`, `dimensions`); kernels 3x3, ReLU.
    """

    def __init__(self, spec: ConvEncoderSpec) -> None:
        super().__init__()
        channels, height, width = spec.layout
        self.convolutions = nn.Sequential()
        for before, after in itertools.pairwise((channels, *spec.channels)):
            self.convolutions += nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(after, after, 3, padding=1),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
        shrunk = 2 ** len(spec.channels)
        flat = spec.channels[-1] * (height // shrunk) * (width // shrunk)
        self.linear = nn.Sequential(
            nn.Linear(flat, spec.hidden), nn.ReLU(), nn.Linear(spec.hidden, spec.dimensions)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embed prepared images."""
        x = x.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
        embedded: Tensor = self.linear(self.convolutions(x).flatten(1))
        return embedded

    def features(self, x: Tensor) -> Tensor:
        """Embed prepared images; what detectors are given."""
        return self.forward(x)


class MlpEncoder(nn.Module):
    """Embeds vectors, `(n, d)` to `(n, dimensions)`, by two hidden layers.

    Columns of tables differ in scale, so they are standardised first by the buffers `mean` and
    `std`, `(d,)` of the prepared training data, which training fills in.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: MlpEncoderSpec) -> None:
        super().__init__()
        [d] = spec.shape
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("std", torch.ones(d))
        self.linear = nn.Sequential(
            nn.Linear(d, spec.hidden),
            nn.ReLU(),
            nn.Linear(spec.hidden, spec.hidden),
            nn.ReLU(),
            nn.Linear(spec.hidden, spec.dimensions),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Embed prepared vectors."""
        embedded: Tensor = self.linear((x - self.mean) / self.std)
        return embedded

    def features(self, x: Tensor) -> Tensor:
        """Embed prepared vectors; what detectors are given."""
        return self.forward(x)


Encoder = ConvEncoder | MlpEncoder
