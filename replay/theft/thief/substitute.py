"""Training a substitute on what was stolen, by the strategies of PRADA version 2."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.recording import Loot
from gamekeeper.replay.theft.thief.search import Search, best_setting, middle

Strategy = Literal["rule-of-thumb", "same", "cv-search"]
Targets = Literal["labels", "probabilities"]

DROPOUT = 0.5
"""Dropout of `cv-search`. The paper does not say how much; this is what its inventors (Srivastava
et al. 2014) advise for hidden layers. It is in the last hidden layer only."""


class Hyperparameters(NamedTuple):
    """How a network is trained; a `rate` is a learning rate, `dropout` a share of units."""

    optimiser: Literal["adam", "sgd"]
    rate: float
    epochs: int
    dropout: float = 0.0


RULE_OF_THUMB = Hyperparameters("sgd", 0.01, 10)
"""Papernot's, with a momentum of 0.9 (PRADA version 2, section II-F 2)."""
VICTIM = Hyperparameters("adam", 1e-3, 100)
"""The paper's victims' (ibid., section IV-A), without the halving of the rate."""


def train_substitute(
    loot: Loot,
    strategy: Strategy,
    architecture: Architecture,
    seed: int,
    *,
    targets: Targets = "labels",
    dropout: float | None = None,
    victim: Hyperparameters = VICTIM,
    search: Search = Search(),  # noqa: B008  immutable
) -> Classifier:
    """Train a substitute from scratch on all images stolen (PRADA version 2, section III-A).

    Args:
        loot: the labelled images; where there are none, the network stays as the seed made it,
            untrained.
        strategy: `rule-of-thumb` is Papernot's short training, `same` copies the `victim`'s
            hyperparameters, `cv-search` looks for a learning rate and epochs for Adam (the paper
            does not say which optimiser; this is its victims').
        architecture: of the substitute, which need not be the victim's.
        seed: decides weights, order, dropout, folds and the search.
        targets: what is learned, the victim's top-1 classes or its probabilities.
        dropout: replaces the strategy's: the victim's for `same`, `DROPOUT` for `cv-search`, none
            for `rule-of-thumb`.
        victim: the victim's hyperparameters.
        search: how long `cv-search` looks; the full search trains 150 networks.
    """
    if strategy == "cv-search":
        share = DROPOUT if dropout is None else dropout
        chosen = _searched(loot, targets, architecture, share, search, seed)
    else:
        chosen = victim if strategy == "same" else RULE_OF_THUMB
    if dropout is not None:
        chosen = chosen._replace(dropout=dropout)
    return _trained(loot, targets, architecture, chosen, seed)


def some(loot: Loot, rows: NDArray[Any]) -> Loot:
    """Take rows of the loot, by `(n,)` bools or places."""
    return Loot(*(part[rows] for part in loot))


def _trained(
    loot: Loot, targets: Targets, architecture: Architecture, chosen: Hyperparameters, seed: int
) -> Classifier:
    shape = architecture._replace(dropout=chosen.dropout)
    model = Classifier(shape, seed, chosen.optimiser, chosen.rate)
    if len(loot.images):
        wanted = loot.labels if targets == "labels" else loot.probabilities
        model.fit(loot.images, wanted, chosen.epochs)
    return model


def _searched(
    loot: Loot,
    targets: Targets,
    architecture: Architecture,
    dropout: float,
    search: Search,
    seed: int,
) -> Hyperparameters:
    """Search by cross-validation on the oldest images; fewer than two leave the range's middle."""
    first = some(loot, np.arange(min(search.images, len(loot.images))))

    def accuracy(rate: float, epochs: int) -> float:
        tried = Hyperparameters("adam", rate, epochs, dropout)
        parts = KFold(min(search.folds, len(first.images)), shuffle=True, random_state=seed)
        folds = [
            _held_out(some(first, train), some(first, held), targets, architecture, tried, seed)
            for train, held in parts.split(first.images)
        ]
        return float(np.mean(folds))

    enough = len(first.images) >= 2
    rate, epochs = best_setting(accuracy, search, seed) if enough else middle(search)
    return Hyperparameters("adam", rate, epochs, dropout)


def _held_out(
    train: Loot,
    held: Loot,
    targets: Targets,
    architecture: Architecture,
    tried: Hyperparameters,
    seed: int,
) -> float:
    """Train on one part and give the share of the other's labels that come out."""
    model = _trained(train, targets, architecture, tried, seed)
    return float(np.mean(model(held.images).labels == held.labels))
