"""A small network that makes images from noise, for data-free attacks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gamekeeper.replay.theft import WHITE

NOISE = 256
"""Numbers of noise per image, as in the code of Truong et al. (2021)."""
WIDTH = 32
"""Channels of the last hidden layer; half of those in that code, for images that are smaller."""


class Generator(nn.Module):
    """A linear layer and three convolutions, the image doubled before each of the last two.

    The generator of Truong et al.'s code. `shape` is `(h, w)` or `(h, w, c)`, of any size; where
    h or w is no multiple of 4, the first grid is rounded up and the doubling stretched to fit.
    """

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        super().__init__()
        height, width, *channels = shape
        self._grey = not channels
        self._grid = (-(-height // 4), -(-width // 4))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._project = nn.Linear(NOISE, 2 * WIDTH * self._grid[0] * self._grid[1])
            self._paint = nn.Sequential(
                nn.BatchNorm2d(2 * WIDTH),
                nn.Upsample((-(-height // 2), -(-width // 2))),
                nn.Conv2d(2 * WIDTH, 2 * WIDTH, 3, padding=1),
                nn.BatchNorm2d(2 * WIDTH),
                nn.LeakyReLU(0.2),
                nn.Upsample((height, width)),
                nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1),
                nn.BatchNorm2d(WIDTH),
                nn.LeakyReLU(0.2),
                nn.Conv2d(WIDTH, channels[0] if channels else 1, 3, padding=1),
                nn.BatchNorm2d(channels[0] if channels else 1, affine=False),
                nn.Tanh(),
            )

    def forward(self, noise: Tensor) -> Tensor:
        """Make `(n, h, w)` or `(n, h, w, c)` real pixels of 0..255 from `(n, NOISE)` noise."""
        hidden = self._project(noise).unflatten(1, (2 * WIDTH, *self._grid))
        pixels: Tensor = (self._paint(hidden) + 1.0) * (WHITE / 2)
        return pixels.squeeze(1) if self._grey else pixels.permute(0, 2, 3, 1)
