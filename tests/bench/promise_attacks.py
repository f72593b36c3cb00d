"""Attacks on the victims of `promise`, and how soon thresholds catch them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from promise_data import ImageSet

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.catalog import build
from gamekeeper.replay.attacks.jb_self import jb_self
from gamekeeper.replay.attacks.jb_topk import jb_topk
from gamekeeper.replay.attacks.papernot import papernot
from gamekeeper.replay.attacks.t_rnd import t_rnd
from gamekeeper.replay.attacks.tramer import tramer
from gamekeeper.replay.rates import typical, worst

RUNS, BUDGET, SEEDS = 1, 2000, 100


def run(images: ImageSet, victim: Any, featurize: Callable[..., Any], options: Any) -> Any:
    """Record each detector's running maximum over each attack's queries; grey images only."""
    if images.train.ndim != 3:
        return {}
    seeds = images.populations["own"]["test"].images
    attacks: dict[str, Callable[..., Any]] = {
        "papernot": papernot,
        "t-rnd": t_rnd,
        "jb-topk": jb_topk,
        "jb-self": jb_self,
        "tramer": lambda ask, some, budget, rng: tramer(ask, some.shape[1:], budget, rng),
    }
    return {
        f"{name} {number}": _score(
            attack(victim.answers, seeds[number * SEEDS :][:SEEDS], BUDGET, _rng(number)),
            featurize,
            options,
        )
        for name, attack in attacks.items()
        for number in range(RUNS)
    }


def _rng(number: int) -> np.random.Generator:
    return np.random.default_rng([7, number])


def _score(sent: Any, featurize: Callable[..., Any], options: Any) -> dict[str, list[Any]]:
    """Give the queries at which each detector's statistic reached a new maximum, and which."""
    rounds = list(sent)
    inputs = np.concatenate([each.images for each in rounds])
    labels = np.concatenate([each.answers.labels for each in rounds])
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
    if not attacks:
        return "no attack was run"
    return _said([_soonest(records, limits) for records in attacks.values()])


def tabulate(attacks: Any, limits: dict[str, float]) -> list[str]:
    """Lay out detection per attack: by each detector alone and by any."""
    if not attacks:
        return ["No attack was run: those that ship take grey images."]
    lines = [
        f"Caught, median and worst queries to detection, of {RUNS} runs of {BUDGET} queries each:",
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
