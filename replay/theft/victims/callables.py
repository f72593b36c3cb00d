"""Victims from what a model server has: a function of images, or a torch module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gamekeeper.replay.theft import WHITE, Answers, Images, Victim
from gamekeeper.replay.theft.victims.error import VictimError

BATCH = 256
"""Images that a module is given at a time."""
_SLACK = 1e-3
"""How far from [0, 1] a probability may lie, as in a query event."""


def of_callable(function: Callable[[Images], Any], classes: int | None = None) -> Victim:
    """Make a victim of a function of uint8 images `(n, h, w)` or `(n, h, w, c)`.

    It answers `Answers`, or `(n, k)` probabilities, or `(n,)` labels, of which there are
    `classes`; a label then stands for a probability of 1. Anything else is a `VictimError` when
    the victim is asked.
    """

    def victim(images: Images) -> Answers:
        return _answers(function(images), len(images), classes)

    return victim


def unit(images: Tensor) -> Tensor:
    """Bring uint8 images to float32 in 0..1 and to `(n, c, h, w)`, grey ones with one channel."""
    values = images.float() / WHITE
    return values.unsqueeze(1) if values.ndim == 3 else values.permute(0, 3, 1, 2)


def of_module(
    module: nn.Module, prepare: Callable[[Tensor], Tensor] = unit, *, logits: bool = True
) -> Victim:
    """Make a victim of a torch module, which is put into evaluation mode.

    `prepare` makes the module's inputs of a uint8 tensor `(n, h, w)` or `(n, h, w, c)`; without
    `logits` the module's `(n, k)` outputs are probabilities already. Runs where the module's
    weights are.
    """
    module.eval()

    def probabilities(images: Images) -> NDArray[np.float32]:
        device = next((each.device for each in module.parameters()), torch.device("cpu"))
        pixels = torch.from_numpy(images)
        with torch.no_grad():
            starts = range(0, len(pixels), BATCH)
            parts = [module(prepare(pixels[at : at + BATCH].to(device))) for at in starts]
            outputs = torch.cat(parts)
            result: NDArray[np.float32] = (outputs.softmax(1) if logits else outputs).cpu().numpy()
        return result

    return of_callable(probabilities)


def _answers(answer: Any, rows: int, classes: int | None) -> Answers:
    """Check an answer to `rows` images and complete it."""
    if isinstance(answer, Answers):
        return Answers(_labels(answer.labels, rows), _probabilities(answer.probabilities, rows))
    values = np.asarray(answer)
    if values.ndim == 2:
        probabilities = _probabilities(values, rows)
        return Answers(probabilities.argmax(axis=1).astype(np.int64), probabilities)
    labels = _labels(values, rows)
    if classes is None:
        raise VictimError(
            "the victim answers labels only: say how many classes there are, by "
            "gamekeeper.replay.theft.victims.callables.of_callable(function, classes)"
        )
    if labels.max(initial=0) >= classes:
        raise VictimError(f"the victim answers label {labels.max()} of {classes} classes, from 0")
    return Answers(labels, np.eye(classes, dtype=np.float32)[labels])


def _labels(values: Any, rows: int) -> NDArray[np.int64]:
    labels = np.asarray(values)
    if labels.shape != (rows,) or labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        raise VictimError(
            f"the victim answers {_kind(labels)} to {rows} images; wanted ({rows},) labels from 0, "
            f"({rows}, classes) probabilities, or Answers"
        )
    return labels.astype(np.int64)


def _probabilities(values: Any, rows: int) -> NDArray[np.float32]:
    probabilities = np.asarray(values)
    if probabilities.ndim != 2 or len(probabilities) != rows or probabilities.dtype.kind != "f":
        raise VictimError(
            f"the victim answers {_kind(probabilities)} to {rows} images; wanted ({rows}, classes) "
            "probabilities as real numbers"
        )
    if not ((probabilities >= -_SLACK) & (probabilities <= 1 + _SLACK)).all():
        raise VictimError("the victim answers no probabilities: they are not in 0..1; softmax them")
    return probabilities.astype(np.float32).clip(0.0, 1.0)


def _kind(values: NDArray[Any]) -> str:
    return f"{values.dtype.name} of shape {values.shape}"
