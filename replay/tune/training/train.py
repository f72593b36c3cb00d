"""Trains the networks that profiles carry, and measures them on rows held out.

`embedding` is an encoder for the similarity detector, `log_likelihood` a density model for the
likelihood detector (Zhang and Wagner, sections VI-A and VI-B), `ood` a classifier for the detector
of out-of-distribution queries.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from gamekeeper.detectors.networks import (
    Classifier,
    ConvEncoder,
    MlpEncoder,
    Network,
    OodMahalanobis,
    OodNetwork,
    VqVae,
    build,
    dump,
)
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.replay.tune.training.checkpoint import Checkpoint, State
from gamekeeper.replay.tune.training.data import Prepared, prepared, value_range
from gamekeeper.replay.tune.training.density import Density, fit_mixture
from gamekeeper.replay.tune.training.encoder import Classify, Contrast, positives_of
from gamekeeper.replay.tune.training.figures import density_figures, embedding_figures, ood_figures
from gamekeeper.replay.tune.training.loop import Advance, Phase, Step, fit, seeded
from gamekeeper.replay.tune.training.networks import Feature, Score, Size, spec_of
from gamekeeper.replay.tune.training.out_of_distribution import against, check, fit_classes
from gamekeeper.replay.tune.training.split import Split, split
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.files import write_whole

REPORT: Final = "report.json"
CHECKPOINT: Final = "checkpoint"


@dataclass(frozen=True)
class TrainPlan:
    """How to train: which features' networks, how large, how long, and on what share.

    `epochs` bounds each phase, and the learning rate falls along them; a phase ends earlier when
    the loss on the rows held out has not fallen for some epochs. `hardened` adds rows under attack
    to the transformed ones; `ood_score` says how `ood` is scored.
    """

    features: tuple[Feature, ...] = ("embedding", "log_likelihood")
    size: Size = "paper"
    epochs: int = 40
    held_out: float = 0.15
    hardened: bool = False
    ood_score: Score = "binary"
    seed: int = 0


class Trained(msgspec.Struct, frozen=True):
    """One network: its file and what was measured on the rows held out.

    `losses` are the held-out losses by phase, one per epoch; of each phase the best was kept.
    """

    feature: str
    file: str
    sha256: str
    size: int
    spec: dict[str, Any]
    losses: dict[str, list[float]]
    figures: dict[str, Any]


class Report(msgspec.Struct, frozen=True):
    """What was trained on what; `report.json` beside the networks."""

    data: dict[str, Any]
    plan: dict[str, Any]
    split: dict[str, Any]
    networks: list[Trained]


def train(
    dataset: Dataset,
    plan: TrainPlan,
    out: Path,
    advance: Advance = lambda step: None,
    *,
    outliers: Dataset | None = None,
    restart: bool = False,
) -> Report:
    """Train networks into the folder `out`, with a report; goes on where an earlier try ended.

    The same data, plan and number of torch threads give the same files, interrupted or not.
    `outliers`, of the data's shape and dtype, are what `ood` is to tell from it: the binary score
    learns from them, and all scores are measured on those held out. Raises `SettingsError` where
    `out` has an unfinished training of something else (`restart` discards it) or outliers are
    missing, `ProfileError` where rows have a shape that no network takes.
    """
    if "ood" in plan.features:
        check(dataset, outliers, plan.ood_score)
    parts = split(dataset, plan.held_out, plan.seed)
    specs = _specs(dataset, parts, plan)
    spec = next(iter(specs.values()))  # all take the same rows
    data = prepared(dataset, parts, spec)
    others = None
    if outliers is not None:
        others = prepared(outliers, split(outliers, plan.held_out, plan.seed), spec)
    settings = {
        "data": dataset.digest(),
        "outliers": outliers and outliers.digest(),
        "plan": asdict(plan),
    }
    checkpoint = Checkpoint(out / CHECKPOINT, settings, restart=restart)
    runs = {"embedding": _embedding, "log_likelihood": _log_likelihood, "ood": _ood}
    made = [
        runs[feature](_Run(spec, data, others, plan, checkpoint, advance))
        for feature, spec in specs.items()
    ]
    told = _data(dataset) | {"outliers": outliers and _data(outliers)}
    report = Report(told, asdict(plan), _split(parts), [each for each, _ in made])
    # All at the end, so that networks of two trainings do not lie side by side meanwhile.
    for trained, weights in made:
        write_whole(out / trained.file, weights)
    write_whole(out / REPORT, msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    checkpoint.remove()
    return report


class _Run(NamedTuple):
    """What the training of one network needs."""

    spec: dict[str, Any]
    data: Prepared
    outliers: Prepared | None
    plan: TrainPlan
    checkpoint: Checkpoint
    advance: Advance


def _specs(dataset: Dataset, parts: Split, plan: TrainPlan) -> dict[Feature, dict[str, Any]]:
    low, high = value_range(dataset, parts)
    score = plan.ood_score
    classes = 2 if score == "binary" else int(dataset.labels.max()) + 1
    shape = dataset.inputs.shape[1:]
    return {
        each: spec_of(each, shape, plan.size, low, high, score=score, classes=classes)
        for each in plan.features
    }


def _embedding(run: _Run) -> tuple[Trained, bytes]:
    """Train an encoder: to classify, where there are classes, then to contrast."""
    plan, data = run.plan, run.data
    with seeded(plan.seed, "encoder"):
        encoder = build(run.spec)
        assert isinstance(encoder, ConvEncoder | MlpEncoder)
        classifier = Classifier(encoder, run.spec["dimensions"], data.classes)
        classify = Classify(classifier.to(data.train.device), data)
    losses: dict[str, list[float]] = {}
    figures: dict[str, Any] = {}
    if data.classes > 1:
        losses["classify"] = _fit(run, classify).losses
        figures["accuracy"] = classify.accuracy()
    elif plan.hardened:
        raise TraceError(
            "hardening attacks a classifier, and all labels are the same; leave it out"
        )
    victim = copy.deepcopy(classify.module) if data.classes > 1 else None
    positives = positives_of(data, victim if plan.hardened else None)
    contrast = Contrast(encoder, data, positives)
    state = _fit(run, contrast)
    losses["contrast"] = state.losses
    figures["contrastive_loss"] = state.losses[state.best]
    with seeded(plan.seed, "figures"):
        figures |= embedding_figures(encoder, data, positives, victim)
    return _trained(run, encoder, losses, figures)


def _log_likelihood(run: _Run) -> tuple[Trained, bytes]:
    """Train a VQ-VAE on images, or fit a Gaussian mixture to vectors."""
    plan, data = run.plan, run.data
    losses: dict[str, list[float]] = {}
    if run.spec["kind"] == "vq-vae":
        with seeded(plan.seed, "vq-vae"):
            module = build(run.spec).to(data.train.device)
        assert isinstance(module, VqVae)
        state = _fit(run, Density(module, data))
        losses["density"] = state.losses
        figures = {"reconstruction_error_over_variance": state.losses[state.best]}
    else:
        module, spec = fit_mixture(data, run.spec, plan.seed)
        run = run._replace(spec=spec)
        figures = {"components": spec["components"]}
        run.advance(Step("mixture", 1, 1, 0.0))
    with seeded(plan.seed, "figures"):
        figures |= density_figures(module, data)
    return _trained(run, module, losses, figures)


def _ood(run: _Run) -> tuple[Trained, bytes]:
    """Train a classifier: of own rows and outliers, or of the data's classes for a score on top."""
    data, outliers = run.data, run.outliers
    with seeded(run.plan.seed, "ood"):
        module = build(run.spec).to(data.train.device)
    assert isinstance(module, OodNetwork)
    learned = data
    if run.plan.ood_score == "binary" and outliers is not None:
        learned = against(data, outliers)
    phase = Classify(module, learned, "ood")
    losses = {"ood": _fit(run, phase).losses}
    if isinstance(module, OodMahalanobis):
        fit_classes(module, data)
    figures: dict[str, Any] = {"accuracy": phase.accuracy()}
    with seeded(run.plan.seed, "figures"):
        figures |= ood_figures(module, data, outliers)
    return _trained(run, module, losses, figures)


def _fit(run: _Run, phase: Phase) -> State:
    return fit(phase, run.plan.epochs, run.plan.seed, run.checkpoint, run.advance)


def _trained(
    run: _Run, module: Network, losses: dict[str, list[float]], figures: dict[str, Any]
) -> tuple[Trained, bytes]:
    """Encode a network as its file, and say what is in it."""
    data = dump(module, run.spec)
    feature = run.spec["feature"]
    digest = hashlib.sha256(data).hexdigest()
    file = f"{feature}.safetensors"
    return Trained(feature, file, digest, len(data), run.spec, losses, figures), data


def _data(dataset: Dataset) -> dict[str, Any]:
    return {
        "rows": len(dataset),
        "shape": dataset.inputs.shape[1:],
        "dtype": dataset.inputs.dtype.name,
        "classes": dataset.classes,
        "groups": None if dataset.groups is None else int(dataset.groups.max()) + 1,
        "repeated": dataset.repeated,
        "skipped": dataset.skipped,
        "sha256": dataset.digest(),
    }


def _split(parts: Split) -> dict[str, Any]:
    return {
        "train": len(parts.train),
        "held_out": len(parts.held_out),
        "how": parts.how,
        "seen": "early stopping has chosen the epoch on the rows held out",
    }
