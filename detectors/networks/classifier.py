"""A classifier, an encoder with a linear head: what all out-of-distribution scores begin with."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from gamekeeper.detectors.networks.encoders import ConvEncoder, Encoder, MlpEncoder
from gamekeeper.detectors.networks.spec import ConvEncoderSpec, MlpEncoderSpec, OodSpec


class Classifier(nn.Module):
    """Classifies prepared rows, `(n, c, h, w)` or `(n, d)`, into logits `(n, classes)`."""

    def __init__(self, trunk: Encoder, dimensions: int, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(dimensions, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits."""
        logits: Tensor = self.head(functional.relu(self.trunk(x)))
        return logits


def trunk(spec: OodSpec) -> Encoder:
    """Build the encoder for rows of the spec's shape."""
    if len(spec.shape) > 1:
        return ConvEncoder(
            ConvEncoderSpec(
                shape=spec.shape,
                channels=spec.channels,
                hidden=spec.hidden,
                dimensions=spec.dimensions,
            )
        )
    return MlpEncoder(
        MlpEncoderSpec(shape=spec.shape, hidden=spec.hidden, dimensions=spec.dimensions)
    )
