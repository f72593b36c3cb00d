"""Out-of-distribution by the Mahalanobis distance to the nearest class.

Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial
Attacks", section 2.1: the features of a classifier's penultimate layer are taken for Gaussian in
each class, with one covariance for all. Theirs joins the scores of several layers and steps the
input, both tuned on outliers; this is the plain score of the penultimate layer, which needs none.
The features are those before the ReLU: what it cuts off is neither Gaussian nor told apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gamekeeper.detectors.networks.classifier import Classifier, trunk
from gamekeeper.detectors.networks.spec import MahalanobisSpec

_FLOAT32 = torch.finfo(torch.float32).max


class OodMahalanobis(Classifier):
    """Scores rows by the squared distance of their features to the nearest class's mean.

    The buffers are filled in after training, both float64:

    * `means` `(classes, dimensions)`: of the training rows' features;
    * `precision` `(dimensions, dimensions)`: a matrix P whose product P P^T is the inverse of the
      classes' common covariance.
    """

    means: Tensor
    precision: Tensor

    def __init__(self, spec: MahalanobisSpec) -> None:
        super().__init__(trunk(spec), spec.dimensions, spec.classes)
        self.register_buffer(
            "means", torch.zeros(spec.classes, spec.dimensions, dtype=torch.float64)
        )
        self.register_buffer("precision", torch.eye(spec.dimensions, dtype=torch.float64))

    def features(self, x: Tensor) -> Tensor:
        """Give the scores of prepared rows, `(n, 1)`, 0 or above."""
        embedded: Tensor = self.trunk(x)
        away = embedded.double()[None] - self.means[:, None]
        squares = (away @ self.precision).square().sum(2)
        return squares.min(0).values.clamp(max=_FLOAT32).float()[:, None]
