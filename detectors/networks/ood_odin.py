"""Out-of-distribution by ODIN: the softmax at a high temperature, after a step of the input.

Liang, Li and Srikant, "Enhancing the Reliability of Out-of-Distribution Image Detection in Neural
Networks", section 3. With S(x; T) the largest softmax probability of the logits over T, the input
takes a small step that raises it, x' = x + epsilon sign(grad log S(x; T)), which own inputs follow
further than others; the score is S(x'; T).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gamekeeper.detectors.networks.classifier import Classifier, trunk
from gamekeeper.detectors.networks.encoders import MlpEncoder
from gamekeeper.detectors.networks.spec import OdinSpec


class OodOdin(Classifier):
    """Scores rows by -T log(k S(x'; T)) with k classes, which falls as S rises.

    At T = 1000, S is 1/k in its first digits, whatever x; this form keeps those that differ.
    """

    def __init__(self, spec: OdinSpec) -> None:
        super().__init__(trunk(spec), spec.dimensions, spec.classes)
        self._temperature, self._epsilon = spec.temperature, spec.epsilon

    def features(self, x: Tensor) -> Tensor:
        """Give the scores of prepared rows, `(n, 1)`: 0 where all classes are alike, else below."""
        return self._score(self.stepped(x))[:, None].float()

    def stepped(self, x: Tensor) -> Tensor:
        """Give x': a step of epsilon, of vectors in units of their columns' deviations."""
        # Featurizers run without gradients; what was made there has none until it is copied.
        with torch.inference_mode(False), torch.enable_grad():
            start = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self._score(start).sum(), start)
        unit = self.trunk.std if isinstance(self.trunk, MlpEncoder) else 1.0
        return x - self._epsilon * unit * gradient.sign()

    def _score(self, x: Tensor) -> Tensor:
        """Give -T log(k S(x; T)), `(n,)`; its gradient's sign is that of -log S."""
        logits, t = self.forward(x).double(), self._temperature
        classes = logits.shape[1]
        largest = logits.max(1).values
        return t * (torch.logsumexp(logits / t, 1) - math.log(classes)) - largest
