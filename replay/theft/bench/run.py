"""All cells of a bench, in parallel, each kept as it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from gamekeeper.detectors.base import Featurizer
from gamekeeper.replay.theft import Start, digest
from gamekeeper.replay.theft.attacks import FROM_PROBABILITIES
from gamekeeper.replay.theft.bench.cell import PLAIN, Cell, Key, attacked, outcome
from gamekeeper.replay.theft.bench.parts import Part, start
from gamekeeper.replay.theft.bench.pools import write_arrays
from gamekeeper.replay.theft.bench.remembering import Remembering
from gamekeeper.replay.theft.bench.rules import Watched, limits
from gamekeeper.replay.theft.bench.setting import Setting, read_networks
from gamekeeper.replay.theft.evasions import CANDID
from gamekeeper.replay.theft.model import Classifier
from gamekeeper.replay.theft.recording import PER_CLASS, Loot
from gamekeeper.replay.theft.thief import (
    Hyperparameters,
    Stolen,
    Targets,
    Yardstick,
    stolen,
    train_substitute,
    until,
)
from gamekeeper.replay.theft.victims import read_victim
from gamekeeper.replay.tune.processes import Advance, over
from gamekeeper.schemas.files import write_whole

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
    test: Part
    pool: Part | None


def share(folder: Path, setting: Setting, pool: Part | None) -> None:
    """Write what the cells need beside what the setting has written."""
    parts = {"thief": setting.parts.thief, "test": setting.parts.test, "pool": pool}
    arrays = {
        f"{name}_{field}": value
        for name, part in parts.items()
        if part is not None
        for field, value in part._asdict().items()
    }
    write_arrays(folder / "thief.npz", arrays)
    write_whole(folder / "watched.json", msgspec.json.encode(setting.watched))


@lru_cache(maxsize=1)
def shared(folder: Path) -> Shared:
    """Read it."""
    with np.load(folder / "thief.npz", allow_pickle=False) as arrays:
        thief, test = _part(arrays, "thief"), _part(arrays, "test")
        pool = _part(arrays, "pool") if "pool_images" in arrays else None
    watched = msgspec.json.decode((folder / "watched.json").read_bytes(), type=Watched)
    victim = read_victim(folder / "victim.safetensors")
    return Shared(victim, Remembering(victim), read_networks(folder), watched, thief, test, pool)


def _part(arrays: Mapping[str, Any], name: str) -> Part:
    return Part(arrays[f"{name}_images"], arrays[f"{name}_labels"])


def cells(folder: Path, keys: Sequence[Key], budget: int, jobs: int, advance: Advance) -> None:
    """Do the cells that are not done yet."""
    (folder / "cells" / str(budget)).mkdir(parents=True, exist_ok=True)
    paths = {key: cell_file(folder, budget, key) for key in keys}

    def tell() -> None:
        advance(sum(path.exists() for path in paths.values()), len(keys))

    tell()
    todo = [key for key, path in paths.items() if not path.exists()]
    if todo:
        for _ in over(partial(_cells, folder, budget), grouped(todo), jobs, undeterred=True):
            tell()


def cell_file(folder: Path, budget: int, key: Key) -> Path:
    """Say where one cell is kept."""
    return folder / "cells" / str(budget) / f"{key.slug()}.json"


def there(folder: Path, keys: Sequence[Key], budget: int) -> list[Cell]:
    """Read the cells that are done, in the keys' order."""
    paths = [cell_file(folder, budget, key) for key in keys]
    return [msgspec.json.decode(path.read_bytes(), type=Cell) for path in paths if path.exists()]


def grouped(keys: Sequence[Key]) -> list[tuple[Key, ...]]:
    """Put together the cells that one recording of the attack without evasions is enough for."""
    groups: dict[Key, list[Key]] = {}
    for key in keys:
        candid = key.evasion in CANDID
        groups.setdefault(plain(key) if candid else key, []).append(key)
    return [tuple(each) for each in groups.values()]


def plain(key: Key) -> Key:
    """Name the cell without evasions."""
    return Key(key.attack, PLAIN, key.run)


def _cells(folder: Path, budget: int, keys: tuple[Key, ...]) -> None:
    """Do cells of one group."""
    have = shared(folder)
    run = keys[0].run
    begin = start(
        have.thief, have.pool, have.victim.classes, PER_CLASS, np.random.default_rng([run, 7])
    )
    options = _options(folder, have.watched)
    alone = None
    for key in keys:
        began = time.perf_counter()
        if alone is None and key.evasion in CANDID | {PLAIN}:
            alone = attacked(plain(key), have.victim, begin, budget, options)
        if alone and key.evasion == PLAIN:
            ran = alone
        else:
            ran = attacked(key, have.victim, begin, budget, options, alone)
        figures = partial(_figures, folder, have, begin, key)
        cell = outcome(key, ran, have.watched, have.networks, figures, began)
        write_whole(cell_file(folder, budget, key), msgspec.json.encode(cell))


def _options(folder: Path, watched: Watched) -> dict[str, dict[str, Any]]:
    """Give, by evasion, what it needs of the bench.

    Thieves know PRADA's threshold (Kerckhoffs's principle; PRADA version 2, section V-C). What a
    filter learns does not depend on the attack, and takes minutes.
    """
    level = min(limits(watched.rules[rule])["prada"] for rule in ("combined", "prada"))
    learned = {"keep": folder / "filters"}
    return {"dummy": {"threshold": level}, "filter": learned, "filter-seeds": learned}


def _figures(
    folder: Path, have: Shared, begin: Start, key: Key, loot: Loot, after: int | None
) -> Stolen:
    """Measure what was stolen by then, once for each loot: many cells have the same."""
    had = until(loot, after)
    targets: Targets = "probabilities" if key.attack in FROM_PROBABILITIES else "labels"
    learned = had.labels if targets == "labels" else had.probabilities
    path = folder / "stolen" / f"{digest(had.images, learned, key.run).hex()}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        measured = _measured(have, begin, key.run, had, targets)
        write_whole(path, msgspec.json.encode(measured))
    return msgspec.json.decode(path.read_bytes(), type=Stolen)


def _measured(have: Shared, begin: Start, run: int, loot: Loot, targets: Targets) -> Stolen:
    def train(loot: Loot) -> Classifier:
        epochs = int(np.clip(SHOWN // max(1, len(loot.images)), *EPOCHS))
        how = Hyperparameters("adam", 1e-3, epochs)
        architecture = have.victim.architecture
        return train_substitute(loot, "same", architecture, run, targets=targets, victim=how)

    test = have.test.images[:TESTED]
    yardstick = Yardstick(have.yardstick, test, begin.seeds, ("mi-fgsm",), targets=1, noise=NOISE)
    return stolen(loot, train, yardstick, run)
