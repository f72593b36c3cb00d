"""Training a victim: a classifier, and how well it does on rows held out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from gamekeeper.replay.theft import Images, Labels
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.tune.datasets import Dataset, pixels
from gamekeeper.replay.tune.training import split
from gamekeeper.schemas.errors import TraceError

EPOCHS: Final = 100
"""Epochs of training (PRADA version 2, section IV-A). The paper also halves the learning rate where
the cost no longer falls; here it stays."""
LAYERS: Final = {"mnist": ((32, 64), (200,)), "gtsrb": ((64, 64), (200, 100))}
"""Widths of the convolutions and of the hidden layers (PRADA version 2, Table I)."""


class VictimPlan(NamedTuple):
    """What a victim depends on besides its data."""

    layers: str = "mnist"
    epochs: int = EPOCHS
    held_out: float = 0.1
    seed: int = 0


class ClassScore(NamedTuple):
    """How one class does on the rows held out."""

    name: str
    rows: int
    correct: int


class VictimReport(NamedTuple):
    """What was trained, and the share of the held-out rows that it gets right."""

    architecture: Architecture
    trained: int
    held_out: int
    how: str
    accuracy: float
    classes: list[ClassScore]


def train_victim(
    dataset: Dataset, plan: VictimPlan, advance: Callable[[int], object] = lambda epochs: None
) -> tuple[Classifier, VictimReport]:
    """Train a victim on images of any exact form and report on those held out.

    The same data, plan and number of torch threads give the same victim. `advance` is told the
    number of epochs done. Raises `TraceError` where the data are no images, too few or of one
    class.
    """
    images, labels = pixels(dataset.inputs), dataset.labels
    if len(dataset.classes) < 2:
        raise TraceError("all rows are of one class; a victim tells classes apart")
    parts = split(dataset, plan.held_out, plan.seed)
    widths, hidden = LAYERS[plan.layers]
    architecture = Architecture(images.shape[1:], len(dataset.classes), widths, hidden)
    victim = Classifier(architecture, plan.seed)
    for epoch in range(plan.epochs):
        victim.fit(images[parts.train], labels[parts.train], 1)
        advance(epoch + 1)
    scores = _scores(victim, images[parts.held_out], labels[parts.held_out], dataset.classes)
    accuracy = sum(each.correct for each in scores) / len(parts.held_out)
    sizes = len(parts.train), len(parts.held_out)
    return victim, VictimReport(architecture, *sizes, parts.how, accuracy, scores)


def _scores(
    victim: Classifier, images: Images, labels: Labels, names: tuple[str, ...]
) -> list[ClassScore]:
    right = victim(images).labels == labels
    return [
        ClassScore(name, int((labels == label).sum()), int(right[labels == label].sum()))
        for label, name in enumerate(names)
    ]
