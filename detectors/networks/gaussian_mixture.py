"""A density of vectors: a mixture of Gaussians with full covariances.

Chosen among density models for its three plain virtues: its log-likelihood is exact (no bound, no
reconstruction as a stand-in), it is fitted in seconds by expectation-maximisation without a
learning rate to tune, and it is small and the same everywhere. Full covariances see what tables
are made of: columns that depend on each other.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gamekeeper.detectors.networks.spec import GaussianMixtureSpec

_FLOAT32 = torch.finfo(torch.float32).max


class GaussianMixture(nn.Module):
    """The log-density of vectors, `(n, d)` to `(n,)`, over d; higher is more usual.

    It is the density of the standardised vectors, so that the columns' units do not matter, and
    per dimension, so that its size hardly depends on d. Nothing here is learned by gradients; the
    buffers are filled in after fitting, all float64, with k components:

    * `mean`, `std` `(d,)`: of the prepared training data;
    * `weights` `(k,)`: the components' shares, positive, of sum 1;
    * `means` `(k, d)`: in standardised units;
    * `precisions` `(k, d, d)`: a matrix P per component whose product P P^T is the inverse
      covariance, upper triangular (scikit-learn's `precisions_cholesky_`).
    """

    mean: Tensor
    std: Tensor
    weights: Tensor
    means: Tensor
    precisions: Tensor

    def __init__(self, spec: GaussianMixtureSpec) -> None:
        super().__init__()
        [d], k = spec.shape, spec.components
        self.register_buffer("mean", torch.zeros(d, dtype=torch.float64))
        self.register_buffer("std", torch.ones(d, dtype=torch.float64))
        self.register_buffer("weights", torch.full((k,), 1 / k, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(k, d, dtype=torch.float64))
        eye = torch.eye(d, dtype=torch.float64)
        self.register_buffer("precisions", eye.repeat(k, 1, 1))

    def log_likelihood(self, x: Tensor) -> Tensor:
        """Give the log-densities per dimension of prepared vectors, `(n,)` float32."""
        d = x.shape[1]
        away = ((x.double() - self.mean) / self.std)[None] - self.means[:, None]
        squares = (away @ self.precisions).square().sum(2)
        scale = self.precisions.diagonal(dim1=1, dim2=2).log().sum(1)
        constant = self.weights.log() + scale - d / 2 * math.log(2 * math.pi)
        density = torch.logsumexp(constant[:, None] - squares / 2, 0) / d
        return density.clamp(-_FLOAT32, _FLOAT32).float()

    def features(self, x: Tensor) -> Tensor:
        """Give `log_likelihood` as `(n, 1)`; what detectors are given."""
        return self.log_likelihood(x)[:, None]
