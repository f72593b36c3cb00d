"""Attacks on the victims of `promise`, and how soon thresholds catch them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from promise_data import ImageSet

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.catalog import build
from gamekeeper.replay.theft import Start
from gamekeeper.replay.theft.attacks import attack
from gamekeeper.replay.theft.recording import Recorder
from gamekeeper.replay.theft.recording import run as run_attack
from gamekeeper.replay.tune.evaluation import typical, worst

ATTACKS = ("papernot", "t-rnd-ifgsm", "jb-topk", "jb-self", "tramer")
RUNS, BUDGET = 3, 2000
SEEDS = 10
"""Natural images per class that a thief begins with (PRADA version 2, section IV-B)."""


def run(images: ImageSet, victim: Any, featurize: Callable[..., Any], options: Any) -> Any:
    """Record each detector's running maximum over each attack's queries."""
    return {
        f"{name} {number}": _score(
            _record(name, images, victim.answers, np.random.default_rng([7, number])),
            featurize,
            options,
        )
        for name in ATTACKS
        for number in range(RUNS)
    }


def _record(name: str, images: ImageSet, victim: Any, rng: np.random.Generator) -> Recorder:
    pool = images.populations["own"]["test"].images
    classes = int(images.labels.max()) + 1
    seeds = pool[rng.permutation(len(pool))[: SEEDS * classes]]
    recorder = Recorder(victim)
    run_attack(attack(name), recorder, Start(seeds, classes, pool[:0]), BUDGET, rng)
    return recorder


def _score(recorder: Recorder, featurize: Callable[..., Any], options: Any) -> dict[str, list[Any]]:
    """Give the queries at which each detector's statistic reached a new maximum, and which."""
    inputs = np.concatenate([each.request.images for each in recorder.seen])
    labels = np.concatenate([each.answers.labels for each in recorder.seen])
    found = featurize(inputs)
    records = {}
    for name, chosen in options.items():
        scores = build(name, chosen).update(Batch(0, inputs, labels, None, found))
        highest = np.fmax.accumulate(scores)
        new = np.flatnonzero(np.diff(highest, prepend=-np.inf) > 0)
        ready = int(np.isnan(highest).sum())
        new = np.unique([ready, *new]) if ready < len(highest) else new
        records[name] = [(new + 1).tolist(), highest[new].tolist()]
    return records


def detection(record: Any, limit: float) -> int | None:
    """Say after how many queries a statistic was above the threshold."""
    queries, highest = record
    above = [query for query, value in zip(queries, highest, strict=True) if value > limit]
    return above[0] if above else None


def _soonest(records: Any, limits: dict[str, float]) -> int | None:
    found = [detection(records[name], limit) for name, limit in limits.items()]
    return min((each for each in found if each is not None), default=None)


def _said(found: list[int | None]) -> str:
    hits = sum(each is not None for each in found)
    return f"{hits}/{len(found)}, {_number(typical(found))}, {_number(worst(found))}"


def _number(value: float | None) -> str:
    return "missed" if value is None else f"{value:.0f}"


def caught(attacks: Any, limits: dict[str, float]) -> str:
    """Say how many attacks any detector catches, and the median and worst queries to that."""
    return _said([_soonest(records, limits) for records in attacks.values()])


def tabulate(attacks: Any, limits: dict[str, float]) -> list[str]:
    """Lay out detection per attack: by each detector alone and by any."""
    lines = [
        f"Caught, median and worst queries to detection, of {RUNS} "
        f"{'run' if RUNS == 1 else 'runs'} of {BUDGET} queries each:",
        "",
        f"| attack | {' | '.join(limits)} | any |",
        "| --- |" + " --- |" * (len(limits) + 1),
    ]
    for kind in dict.fromkeys(name.rpartition(" ")[0] for name in attacks):
        runs = [each for name, each in attacks.items() if name.rpartition(" ")[0] == kind]
        cells = [
            _said([detection(each[name], limit) for each in runs]) for name, limit in limits.items()
        ]
        cells.append(_said([_soonest(each, limits) for each in runs]))
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines
