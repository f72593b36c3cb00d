"""VQ-VAE: an auto-encoder of images whose middle is a grid of codes from a learned codebook.

Zhang and Wagner, section VI-B, after van den Oord et al., "Neural Discrete Representation
Learning": what an image loses on its way through, measured against what training images vary, is
their stand-in for its log-likelihood. An image unlike those of the training loses more.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from gamekeeper.detectors.networks.spec import VqVaeSpec

SMALLEST_SHARE = 1e-5
"""Added to each code's count, so that one that is never used has a mean."""


class Coded(NamedTuple):
    """What came of images: their reconstruction `(n, c, h, w)`, and how the codes fit.

    `commitment` is the mean squared distance of the encodings from their codes.
    """

    reconstruction: Tensor
    commitment: Tensor


class VqVae(nn.Module):
    """Codes and reconstructs images `(n, c, h, w)` of any size; two halvings of each side.

    Training minimises `loss`; the codebook moves by itself in training mode. The buffer
    `variance`, `()`, is that of the prepared training data's values, which training fills in.
    """

    variance: Tensor

    def __init__(self, spec: VqVaeSpec) -> None:
        super().__init__()
        channels, hidden = spec.layout[0], spec.hidden
        self.beta = spec.beta
        self.register_buffer("variance", torch.ones(()))
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, hidden // 2, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden // 2, hidden, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1),
            *(_Residual(hidden, spec.residual) for _ in range(spec.layers)),
            nn.ReLU(),
            nn.Conv2d(hidden, spec.code, 1),
        )
        self.codebook = Codebook(spec.codes, spec.code, spec.decay)
        self.decoder = nn.Sequential(
            nn.Conv2d(spec.code, hidden, 3, padding=1),
            *(_Residual(hidden, spec.residual) for _ in range(spec.layers)),
            nn.ReLU(),
            nn.ConvTranspose2d(hidden, hidden // 2, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(hidden // 2, channels, 4, stride=2, padding=1),
        )

    def forward(self, x: Tensor) -> Coded:
        """Code and reconstruct prepared images."""
        height, width = x.shape[2:]
        encoded = self.encode(x)
        quantised = self.codebook(encoded)
        commitment = functional.mse_loss(encoded, quantised)
        # The gradient goes past the choice of codes as if there had been none.
        passed = encoded + (quantised - encoded).detach() if self.training else quantised
        reconstruction = self.decoder(passed)[:, :, :height, :width]
        return Coded(reconstruction, commitment)

    def encode(self, x: Tensor) -> Tensor:
        """Encode images as `(n, code, h/4, w/4)`, of sides padded to multiples of four."""
        height, width = x.shape[2:]
        encoded: Tensor = self.encoder(functional.pad(x, (0, -width % 4, 0, -height % 4)))
        return encoded

    def loss(self, x: Tensor) -> Tensor:
        """Give what training minimises: the scaled reconstruction error and the commitment."""
        coded = self(x)
        error = functional.mse_loss(coded.reconstruction, x) / self.variance
        loss: Tensor = error + self.beta * coded.commitment
        return loss

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Give minus the mean squared error of each image over `variance`, `(n,)`, 0 at most."""
        reconstruction: Tensor = self(x).reconstruction
        errors = (reconstruction - x).square().flatten(1).mean(1)
        return -errors / self.variance

    def features(self, x: Tensor) -> Tensor:
        """Give `log_likelihood` as `(n, 1)`; what detectors are given."""
        return self.log_likelihood(x)[:, None]


class Codebook(nn.Module):
    """The codes, `(codes, code)`: running means of the encodings that were nearest to them.

    In training mode each call moves them: `sizes` and `sums` are exponential averages of how many
    encodings chose a code and of their sum (appendix A.1 of van den Oord et al.).
    """

    codes: Tensor
    sizes: Tensor
    sums: Tensor

    def __init__(self, codes: int, code: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codes", torch.randn(codes, code))
        self.register_buffer("sizes", torch.ones(codes))
        self.register_buffer("sums", self.codes.clone())

    def forward(self, encoded: Tensor) -> Tensor:
        """Replace `(n, code, h, w)` by the nearest codes."""
        vectors = encoded.movedim(1, 3)
        chosen = self.nearest(vectors)
        quantised = self.codes[chosen].movedim(3, 1)
        if self.training:
            self._move(vectors.detach().flatten(0, 2), chosen.flatten())
        return quantised

    def nearest(self, vectors: Tensor) -> Tensor:
        """Choose each vector's nearest code, the first of several: `(..., code)` to `(...)`."""
        # Half the squared distance, less what is the same for all codes of a vector.
        return (self.codes.square().sum(1) / 2 - vectors @ self.codes.T).argmin(-1)

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Begin with encodings `(m, code)` as codes, drawn from torch's global generator.

        Codes far from all encodings are never chosen, so never moved: begin where the data is.
        """
        drawn = torch.randint(len(vectors), (len(self.codes),))
        self.codes.copy_(vectors[drawn.to(vectors.device)])
        self.sums.copy_(self.codes)
        self.sizes.fill_(1)

    @torch.no_grad()
    def _move(self, vectors: Tensor, chosen: Tensor) -> None:
        counts = torch.bincount(chosen, minlength=len(self.codes)).to(vectors.dtype)
        sums = torch.zeros_like(self.sums).index_add_(0, chosen, vectors)
        self.sizes.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        self.codes.copy_(self.sums / (self.sizes + SMALLEST_SHARE)[:, None])


class _Residual(nn.Module):
    """Adds a small correction to its input, by a 3x3 and a 1x1 convolution."""

    def __init__(self, hidden: int, residual: int) -> None:
        super().__init__()
        self.correction = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(hidden, residual, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(residual, hidden, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        corrected: Tensor = x + self.correction(x)
        return corrected
