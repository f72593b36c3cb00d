"""All cells of a bench, in parallel, each kept as it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from gamekeeper.detectors.base import Featurizer
from gamekeeper.detectors.featurizers import load as load_network
from gamekeeper.replay.attacks.network import Classifier
from gamekeeper.replay.attacks.run import Loot
from gamekeeper.replay.attacks.start import PER_CLASS
from gamekeeper.replay.bench.cell import Cell, Key, Watched, attacked, outcome
from gamekeeper.replay.bench.parts import Part, start
from gamekeeper.replay.bench.remembering import Remembering
from gamekeeper.replay.bench.setting import Setting
from gamekeeper.replay.bench.workers import Advance, over
from gamekeeper.replay.thief.leak import leak
from gamekeeper.replay.thief.stolen import Stolen, Yardstick
from gamekeeper.replay.thief.substitute import Hyperparameters, train_substitute
from gamekeeper.replay.training.checkpoint import write_whole
from gamekeeper.replay.victims.files import read_victim

SHOWN, EPOCHS = 8000, (5, 100)
"""Images that a thief's last training sees, each image so many times at least and at most. He
trains as the victim was (PRADA version 2's `same`), but for the 100 epochs of the paper: two
trainings per cell are most of a bench's time."""
TESTED, NOISE = 2000, 1000
"""Held-out images, and images of noise, on which a substitute is compared with the victim."""


class Shared(NamedTuple):
    """What every cell needs, read from the bench's folder once per process."""

    victim: Classifier
    yardstick: Remembering
    networks: Mapping[str, Featurizer]
    watched: Watched
    thief: Part
    pool: Part
    test: Part


def share(setting: Setting, pool: Part | None) -> Path:
    """Write what the cells need beside what the setting has written; return the folder."""
    parts = setting.parts
    pool = pool or parts.thief
    arrays = {
        f"{name}_{field}": value
        for name, part in (("thief", parts.thief), ("pool", pool), ("test", parts.test))
        for field, value in part._asdict().items()
    }
    np.savez(setting.folder / "thief.npz", **arrays)
    watched = Watched(setting.watches, setting.limits)
    write_whole(setting.folder / "watched.json", msgspec.json.encode(watched))
    return setting.folder


@lru_cache(maxsize=1)
def shared(folder: Path) -> Shared:
    """Read it."""
    with np.load(folder / "thief.npz", allow_pickle=False) as arrays:
        parts = [
            Part(arrays[f"{name}_images"], arrays[f"{name}_labels"])
            for name in ("thief", "pool", "test")
        ]
    watched = msgspec.json.decode((folder / "watched.json").read_bytes(), type=Watched)
    networks = {
        path.stem: load_network(path.read_bytes(), path.stem)
        for path in (folder / "networks").glob("*.safetensors")
    }
    victim = read_victim(folder / "victim.safetensors")
    return Shared(victim, Remembering(victim), networks, watched, *parts)


def cells(
    folder: Path, keys: Sequence[Key], budget: int, jobs: int, advance: Advance
) -> list[Cell]:
    """Do the cells that are not done yet; return all, in the keys' order."""
    done = folder / "cells" / str(budget)
    done.mkdir(parents=True, exist_ok=True)
    todo = [key for key in keys if not (done / f"{key.slug()}.json").exists()]
    advance(len(keys) - len(todo), len(keys))
    before = len(keys) - len(todo)
    if todo:
        over(
            partial(_cell, folder, done, budget),
            todo,
            jobs,
            lambda part, _: advance(before + part, len(keys)),
        )
    return [
        msgspec.json.decode((done / f"{key.slug()}.json").read_bytes(), type=Cell) for key in keys
    ]


def _cell(folder: Path, done: Path, budget: int, key: Key) -> None:
    began = time.perf_counter()
    have = shared(folder)
    rng = np.random.default_rng([key.run, 7])
    begin = start(have.thief, have.pool, have.victim.classes, PER_CLASS, rng)
    ran = attacked(key, have.victim, begin, budget, have.watched.limits["combined"])
    yardstick = Yardstick(
        have.yardstick, have.test.images[:TESTED], begin.seeds, ("mi-fgsm",), targets=1, noise=NOISE
    )

    def train(loot: Loot) -> Classifier:
        epochs = int(np.clip(SHOWN // max(1, len(loot.images)), *EPOCHS))
        how = Hyperparameters("adam", 1e-3, epochs)
        return train_substitute(loot, "same", have.victim.architecture, key.run, victim=how)

    def figures(loot: Loot, after: int | None) -> Stolen:
        return leak(loot, after, train, yardstick, key.run)

    cell = outcome(key, ran, have.watched, have.networks, budget, figures, began)
    write_whole(done / f"{key.slug()}.json", msgspec.json.encode(cell))
