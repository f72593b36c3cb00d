"""A classifier as the Adversarial Robustness Toolbox takes one: the oracle of crafted images."""

from __future__ import annotations

from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.func import functional_call

from gamekeeper.replay.theft import WHITE
from gamekeeper.replay.theft.model import Classifier, scaled


class _Logits(nn.Module):
    """Pixels of 0..255 in, logits out; gradients reach the pixels only, which saves time."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self._layers = [
            classifier.layers
        ]  # in a list, so that ART never sets its mode or gradients

    def forward(self, pixels: Tensor) -> Tensor:
        """Run the classifier on `(n, h, w)` or `(n, h, w, c)` pixels."""
        (layers,) = self._layers
        weights = {name: weight.detach() for name, weight in layers.named_parameters()}
        logits: Tensor = functional_call(layers, weights, scaled(pixels))
        return logits


def art_model(classifier: Classifier) -> PyTorchClassifier:
    """Present a classifier to ART: float32 pixels 0..255, `(n, h, w)` or `(n, h, w, c)`.

    It shares the classifier's weights, and shows what the classifier learns later, too.
    """
    return PyTorchClassifier(
        _Logits(classifier),
        loss=nn.CrossEntropyLoss(),
        input_shape=classifier.architecture.shape,
        nb_classes=classifier.classes,
        clip_values=(0.0, WHITE),
        device_type="cpu",
    )
