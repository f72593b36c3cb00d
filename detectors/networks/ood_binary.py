"""Out-of-distribution by a binary classifier: own data against outliers.

Atli et al., "Extraction of Complex DNN Models: Real Threat or Boogeyman?" (abstract), as Zhang and
Wagner, section V-B, tell it: a binary classifier says "whether a query comes from the same
distribution as victim's training set". Its features are its own here, learned with it.
"""

from __future__ import annotations

from torch import Tensor

from gamekeeper.detectors.networks.classifier import Classifier, trunk
from gamekeeper.detectors.networks.spec import BinarySpec

OWN, OUTLIER = 0, 1
"""The classes."""


class OodBinary(Classifier):
    """Scores rows by the logarithm of the odds that they are outliers."""

    def __init__(self, spec: BinarySpec) -> None:
        super().__init__(trunk(spec), spec.dimensions, spec.classes)

    def features(self, x: Tensor) -> Tensor:
        """Give the scores of prepared rows, `(n, 1)`; above 0, an outlier is likelier.

        The probability itself would be 1 for all that is sure, and would tell none of it apart.
        """
        logits = self.forward(x)
        return logits[:, OUTLIER, None] - logits[:, OWN, None]
