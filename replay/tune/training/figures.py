"""What trained networks are worth, measured on the rows that were held out."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

from gamekeeper.detectors.networks import Network, OodNetwork
from gamekeeper.replay.tune.training.data import Prepared
from gamekeeper.replay.tune.training.encoder import CHUNK, Positives, hardened
from gamekeeper.replay.tune.training.transforms import TRANSFORMS, transformed

MEASURED: Final = 2000
"""Rows of those held out whose distances are measured, all to all."""
LEVELS: Final = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99)
"""Which quantiles are told."""
PAIR_LEVEL: Final = 0.001
"""The quantile of the distances to the nearest other row below which a pair is called near."""
RECOGNISED: Final = 0.95
"""The share of own rows that are to be recognised when outliers that pass for them are counted."""


def quantiles(values: Tensor) -> dict[str, float]:
    """Give the quantiles of `(n,)` values by their levels.

    >>> quantiles(torch.arange(101.0))["0.5"]
    50.0
    """
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    found = values.double().cpu().quantile(levels).tolist()
    return {str(level): value for level, value in zip(LEVELS, found, strict=True)}


@torch.no_grad()
def embedding_figures(
    encoder: nn.Module, data: Prepared, positives: Positives, victim: nn.Module | None
) -> dict[str, Any]:
    """Compare how far disturbed rows are from their originals with how far different rows are.

    `near` is the share of the former closer than `near_distance`, the 0.1 % quantile of the
    distances of rows to their nearest other row: what a threshold with few false pairs would find.
    It is told of `all` kinds that were trained with, of each transformation, and of `attacked` rows
    (`hardened`, on the `victim`, be they trained with or not).
    """
    rows, labels = data.held_out[:MEASURED], data.held_labels[:MEASURED]
    embedded = _embed(encoder, rows)
    distances = torch.cdist(embedded, embedded)
    different = distances[torch.ones_like(distances).triu(1).bool()]
    nearest = distances.fill_diagonal_(torch.inf).min(1).values
    bar = nearest.quantile(PAIR_LEVEL)
    copies = {"all": positives(rows, labels)}
    if rows.ndim > 2:
        copies |= {name: transformed(rows, name) for name in TRANSFORMS}
    if victim is not None:
        copies["attacked"] = hardened(rows, labels, victim, data.std)
    away = {name: (_embed(encoder, copy) - embedded).norm(dim=1) for name, copy in copies.items()}
    return {
        "rows": len(rows),
        "positive_distance": quantiles(away["all"]),
        "negative_distance": quantiles(different[:: max(1, len(different) // 1_000_000)]),
        "nearest_distance": quantiles(nearest),
        "near_distance": bar.item(),
        "near": {name: (each < bar).double().mean().item() for name, each in away.items()},
    }


@torch.no_grad()
def density_figures(module: Network, data: Prepared) -> dict[str, Any]:
    """Compare the log-likelihoods of rows held out with those of uniform noise in their range."""
    usual, unusual = _features(module, data.held_out), _features(module, _noise(data))
    return {
        "rows": len(data.held_out),
        "log_likelihood": quantiles(usual),
        "log_likelihood_of_noise": quantiles(unusual),
        "noise_above_the_0.001_quantile": (unusual > usual.quantile(PAIR_LEVEL))
        .double()
        .mean()
        .item(),
    }


def ood_figures(module: OodNetwork, own: Prepared, outliers: Prepared | None) -> dict[str, Any]:
    """Compare the scores of own rows held out with those of outliers held out, and of noise.

    `auroc` is the probability that one of these has a higher score than an own row; `fpr_at_95_tpr`
    the share of them that pass for own rows where 95 % of the own rows do (Liang et al., section
    4.3).
    """
    others = {"noise": _noise(own)} | ({} if outliers is None else {"outliers": outliers.held_out})
    scores = _features(module, own.held_out)
    figures: dict[str, Any] = {"rows": len(scores), "score": quantiles(scores)}
    for name, rows in others.items():
        theirs = _features(module, rows)
        figures |= {
            f"score_of_{name}": quantiles(theirs),
            f"auroc_of_{name}": _auroc(scores, theirs),
            f"fpr_at_95_tpr_of_{name}": (theirs <= scores.quantile(RECOGNISED))
            .double()
            .mean()
            .item(),
        }
    return figures


def _auroc(lower: Tensor, higher: Tensor) -> float:
    from sklearn.metrics import roc_auc_score

    truth = torch.cat([torch.zeros(len(lower)), torch.ones(len(higher))])
    return float(roc_auc_score(truth.numpy(), torch.cat([lower, higher]).numpy()))


def _noise(data: Prepared) -> Tensor:
    """Draw as many rows of uniform noise in the training rows' range as are held out."""
    noise = torch.rand_like(data.held_out)
    if noise.ndim > 2:
        return noise
    low, high = data.train.min(0).values, data.train.max(0).values
    return low + (high - low) * noise


def _embed(encoder: nn.Module, rows: Tensor) -> Tensor:
    return torch.cat([encoder(chunk) for chunk in torch.split(rows, CHUNK)]).double().cpu()


@torch.no_grad()
def _features(module: Network, rows: Tensor) -> Tensor:
    return (
        torch.cat([module.features(chunk)[:, 0] for chunk in torch.split(rows, CHUNK)])
        .double()
        .cpu()
    )
