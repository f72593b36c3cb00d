"""Query blinding by an auto-encoder that has learned where noise does not change the answer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gamekeeper.replay.theft import (
    WHITE,
    Images,
    Labels,
    Memo,
    Oracle,
    Reply,
    Request,
    Start,
    digest,
    quantise,
)
from gamekeeper.replay.theft.model import Architecture, Classifier, scaled

NOISE = 0.095
"""Standard deviation of z, of pixels from 0 to 1 (section VII-A)."""
EPOCHS = 10
BATCH = 64
WIDTH = 16
RATE = 1e-3
FLOOR = 0.05
"""Least weight of any pixel before weights are brought to the noise's size."""


def blind_auto_encoder(
    oracle: Oracle, start: Start, rng: np.random.Generator, *, epochs: int = EPOCHS
) -> Oracle:
    """Send t(x, z) for each image x, with noise z, such that F(t(x, z)) is about F(x).

    Zhang and Wagner, section VII-A, which leaves the architecture to Chen et al. Here an
    auto-encoder weighs the noise: t(x, z) = x + z * w(x), the squares of w averaging 1 over each
    image, so that noise goes where it has "minimal impact on model outputs" (Figure 12) and
    training cannot make it vanish.

    F is a classifier of the thief's own. It learns the pool with `pool_labels`, before the first
    query; where there are none, it learns the answers to the first request, which is not blinded,
    and the auto-encoder learns on its images. Each is trained for `epochs` (the paper does not
    say). Blinded images are marked as synthetic; probes are not blinded.
    """
    seed = int(rng.integers(2**31))
    blinder = None
    if len(start.pool) and start.pool_labels is not None:
        classes = int(start.pool_labels.max()) + 1  # the pool's, which need not be the victim's
        blinder = _Blinder(start.pool, start.pool_labels, classes, seed, epochs)

    def blinded(request: Request) -> Reply:
        nonlocal blinder
        if request.probe:
            return oracle(request)
        if blinder:
            images = blinder(request.images)
            return oracle(request._replace(images=images, synthetic=True))
        reply = oracle(request)
        if len(reply.answers.labels):
            images = request.images[reply.sent]
            blinder = _Blinder(images, reply.answers.labels, start.classes, seed, epochs)
        return reply

    return blinded


class _Blinder:
    """A trained auto-encoder and its source of noise."""

    def __init__(
        self, images: Images, labels: Labels, classes: int, seed: int, epochs: int
    ) -> None:
        self._random = torch.Generator().manual_seed(seed)
        self._weigher = _WEIGHERS(
            digest(images, labels, classes, seed, epochs),
            lambda: _learned(images, labels, classes, seed, epochs),
        )

    def __call__(self, images: Images) -> Images:
        with torch.no_grad():
            parts = [
                self._weigher.noisy(rows, self._random)
                for rows in torch.split(torch.from_numpy(images), BATCH)
            ]
            return quantise(torch.cat(parts).numpy()) if parts else images


class _Weigher(nn.Module):
    """Maps images `(n, c, h, w)` to weights of the same shape whose squares average 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, WIDTH, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 2 * WIDTH, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
        )
        self.decoder = nn.Conv2d(WIDTH, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Weigh each pixel and channel."""
        hidden = functional.interpolate(self.encoder(images), images.shape[2:], mode="bilinear")
        raw = functional.softplus(self.decoder(hidden)) + FLOOR
        weights: Tensor = raw / raw.square().mean((1, 2, 3), keepdim=True).sqrt()
        return weights

    def noisy(self, pixels: Tensor, random: torch.Generator) -> Tensor:
        """Add weighed noise to uint8 images `(n, h, w)` or `(n, h, w, c)`; real pixels, 0..255."""
        noise = torch.randn(pixels.shape, generator=random) * NOISE * WHITE
        weights = self(scaled(pixels))
        weights = weights[:, 0] if pixels.ndim == 3 else weights.permute(0, 2, 3, 1)
        noisy: Tensor = (pixels + noise * weights).clamp(0.0, WHITE)
        return noisy


_WEIGHERS = Memo[_Weigher](2)
"""The latest ones: a bench blinds one attack after the other with the same."""


def _learned(images: Images, labels: Labels, classes: int, seed: int, epochs: int) -> _Weigher:
    model = Classifier(Architecture(images.shape[1:], classes), seed)
    model.fit(images, labels, epochs)
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weigher = _Weigher(1 if images.ndim == 3 else images.shape[3])
    optimiser = torch.optim.Adam(weigher.parameters(), lr=RATE)
    pixels, wanted = torch.from_numpy(images), torch.from_numpy(model(images).probabilities)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(pixels), generator=random), BATCH):
            optimiser.zero_grad()
            logits = model.logits(weigher.noisy(pixels[rows], random))
            functional.cross_entropy(logits, wanted[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return weigher
