"""A small variational auto-encoder, which learns what images look like and draws new ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from gamekeeper.replay.theft import WHITE, Images, quantise

WIDTH, LATENT = 400, 20
"""Hidden units, and numbers that an image is told by: of the order of Kingma and Welling's (2014,
section 5), who have 500, and 3 to 200."""
RATE = 1e-3
BATCH = 50


class VariationalAutoEncoder(nn.Module):
    """One hidden layer on each side (Kingma and Welling 2014, appendix C), for uint8 images.

    Pixels are taken as chances of being white (its Bernoulli decoder), as is usual for images. The
    same seed and data give the same network on one kind of processor.
    """

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        super().__init__()
        self._shape = shape
        pixels = torch.Size(shape).numel()
        self._random = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._encode = nn.Sequential(
                nn.Linear(pixels, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2 * LATENT)
            )
            self._decode = nn.Sequential(
                nn.Linear(LATENT, WIDTH), nn.ReLU(), nn.Linear(WIDTH, pixels)
            )

    def fit(self, images: Images, epochs: int) -> None:
        """Train on `(n, ...)` images by Adam, as often as there are epochs."""
        pixels = torch.from_numpy(images).flatten(1) / WHITE
        adam = torch.optim.Adam(self.parameters(), lr=RATE)
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(len(pixels), generator=self._random), BATCH):
                adam.zero_grad()
                torch.autograd.backward(self._loss(pixels[rows]))
                adam.step()

    def draw(self, count: int) -> Images:
        """Draw images: what the decoder makes of normally distributed numbers."""
        with torch.no_grad():
            pixels = torch.sigmoid(self._decode(self._noise(count)))
        return quantise((pixels * WHITE).numpy().reshape(count, *self._shape))

    def _loss(self, pixels: Tensor) -> Tensor:
        """Give the mean of the negative lower bound (the paper's eq. (10))."""
        mean, log_variance = self._encode(pixels).chunk(2, dim=1)
        latent = mean + torch.exp(log_variance / 2) * self._noise(len(pixels))
        wrong = functional.binary_cross_entropy_with_logits(
            self._decode(latent), pixels, reduction="sum"
        )
        apart = (mean.square() + log_variance.exp() - log_variance - 1.0).sum() / 2
        loss: Tensor = (wrong + apart) / len(pixels)
        return loss

    def _noise(self, count: int) -> Tensor:
        return torch.randn(count, LATENT, generator=self._random)
