"""Trains the networks that profiles carry, and measures them on rows held out.

`embedding` is an encoder for the similarity detector, `log_likelihood` a density model for the
likelihood detector (Zhang and Wagner, sections VI-A and VI-B).
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from gamekeeper.detectors.featurizers import dump
from gamekeeper.detectors.networks import Network, build
from gamekeeper.detectors.vq_vae import VqVae
from gamekeeper.replay.datasets.load import Dataset
from gamekeeper.replay.training.checkpoint import Checkpoint, State, write_whole
from gamekeeper.replay.training.data import Prepared, prepared, value_range
from gamekeeper.replay.training.density import Density, fit_mixture
from gamekeeper.replay.training.encoder import Classify, Contrast, positives_of
from gamekeeper.replay.training.figures import density_figures, embedding_figures
from gamekeeper.replay.training.loop import Advance, Phase, Step, fit, seeded
from gamekeeper.replay.training.networks import FEATURES, Feature, Size, spec_of
from gamekeeper.replay.training.split import Split, split
from gamekeeper.schemas.errors import TraceError

REPORT: Final = "report.json"
CHECKPOINT: Final = "checkpoint"


@dataclass(frozen=True)
class TrainPlan:
    """How to train: which features' networks, how large, how long, and on what share.

    `epochs` bounds each phase, and the learning rate falls along them; a phase ends earlier when
    the loss on the rows held out has not fallen for some epochs. `hardened` adds rows under attack
    to the transformed ones.
    """

    features: tuple[Feature, ...] = FEATURES
    size: Size = "paper"
    epochs: int = 40
    held_out: float = 0.15
    hardened: bool = False
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
    restart: bool = False,
) -> Report:
    """Train networks into the folder `out`, with a report; goes on where an earlier try ended.

    The same data, plan and number of torch threads give the same files, interrupted or not.
    Raises `SettingsError` where `out` has an unfinished training of something else (`restart`
    discards it), `ProfileError` where rows have a shape that no network takes.
    """
    parts = split(dataset, plan.held_out, plan.seed)
    low, high = value_range(dataset, parts)
    shape = dataset.inputs.shape[1:]
    specs = {each: spec_of(each, shape, plan.size, low, high) for each in plan.features}
    data = prepared(dataset, parts, next(iter(specs.values())))
    settings = {"data": dataset.digest(), "plan": asdict(plan)}
    checkpoint = Checkpoint(out / CHECKPOINT, settings, restart=restart)
    runs = {"embedding": _embedding, "log_likelihood": _log_likelihood}
    made = [
        runs[feature](_Run(spec, data, plan, checkpoint, advance))
        for feature, spec in specs.items()
    ]
    report = Report(_data(dataset), asdict(plan), _split(parts), [each for each, _ in made])
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
    plan: TrainPlan
    checkpoint: Checkpoint
    advance: Advance


def _embedding(run: _Run) -> tuple[Trained, bytes]:
    """Train an encoder: to classify, where there are classes, then to contrast."""
    plan, data = run.plan, run.data
    with seeded(plan.seed, "encoder"):
        encoder = build(run.spec).to(data.train.device)
        classify = Classify(encoder, run.spec["dimensions"], data)
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
