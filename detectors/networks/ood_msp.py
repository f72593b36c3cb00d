"""Out-of-distribution by the maximum softmax probability: the baseline.

Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
Neural Networks", section 3: a classifier is less sure of what it was not trained on.
"""

from __future__ import annotations

from torch import Tensor

from gamekeeper.detectors.networks.classifier import Classifier, trunk
from gamekeeper.detectors.networks.spec import MspSpec


class OodMsp(Classifier):
    """Scores rows by 1 - max p, p the softmax over the classes."""

    def __init__(self, spec: MspSpec) -> None:
        super().__init__(trunk(spec), spec.dimensions, spec.classes)

    def features(self, x: Tensor) -> Tensor:
        """Give the scores of prepared rows, `(n, 1)` from 0 to 1.

        As the sum of the other classes' probabilities: 1 - p itself is 0 for all that is sure.
        """
        ascending = self.forward(x).softmax(1).sort(1).values
        return ascending[:, :-1].sum(1, keepdim=True)
