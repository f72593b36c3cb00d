"""What all runs of a bench share: a victim, networks, honest accounts, detectors and rules.

Made once, in steps that are kept in the bench's folder, so that an interrupted bench goes on. All
thresholds come from the calibration accounts, which draw from a third of the groups each where data
has groups (see `benign.draw_grouped`); the test accounts draw from all, and say what they cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch

from gamekeeper.detectors.base import LIKELIHOOD, Featurizer, Floats
from gamekeeper.detectors.engine import DetectorProfile
from gamekeeper.detectors.networks import load as load_network
from gamekeeper.replay.theft.bench.benign import chunk_maxima, draw, draw_grouped
from gamekeeper.replay.theft.bench.cell import running_means
from gamekeeper.replay.theft.bench.parts import Part, Parts, cut, rows_of
from gamekeeper.replay.theft.bench.pools import Pool, Rows, make_pool, write_arrays
from gamekeeper.replay.theft.bench.rules import Watched, rules_of, watch
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.victims import read_victim, write_victim
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.replay.tune.processes import Advance
from gamekeeper.replay.tune.training import FEATURES, REPORT, Size, TrainPlan, train
from gamekeeper.schemas.files import write_whole

SIDES = ("calibration", "test")
FITTING = 100
"""Accounts that delta, center and cut are chosen from: others than those that set thresholds, drawn
from the same images."""


class Sizes(msgspec.Struct, frozen=True):
    """How much of everything: `accounts` on each side, of `life` queries each."""

    accounts: int = 400
    life: int = 1000
    epochs: int = 12
    networks: Size = "paper"
    network_epochs: int = 4
    seed: int = 0


class Setting(NamedTuple):
    """What was made; of each of `SIDES` a pool, and by detector the largest statistics by chunk."""

    sizes: Sizes
    parts: Parts
    victim: Classifier
    pools: Mapping[str, Pool]
    maxima: Mapping[str, Mapping[str, Floats]]
    watched: Watched

    def accuracy(self) -> float:
        """Say how often the victim is right on the honest accounts' held-out images."""
        part = self.parts.test
        return float(np.mean(self.victim(part.images).labels == part.labels))

    def likelihood(self) -> Floats:
        """Average each test account's log-likelihoods; `(accounts, points)`, see `cell.points`."""
        pool = self.pools["test"]
        values = pool.queries().features[LIKELIHOOD][:, 0].astype(np.float64)
        return running_means(values[pool.accounts()])


def prepare(folder: Path, data: Dataset, sizes: Sizes, jobs: int, say: Advance) -> Setting:
    """Make what is not in the folder yet; `say` is told of accounts done.

    Raises `TraceError` where there are too few images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # sums in another order are other bits
    rows = rows_of(data, np.random.default_rng(sizes.seed))
    parts = cut(data, rows)
    groups = None if data.groups is None else data.groups[rows["calibration"]]
    asked = victim(folder, parts.victim, int(data.labels.max()) + 1, sizes)
    features = networks(folder, parts.victim, sizes)
    pools = accounts(folder, parts, groups, sizes, asked, features)
    watching = detectors(folder, pools["calibration"], groups, sizes)
    maxima = {
        side: largest(folder / f"{side}-maxima.npz", pool, watching, jobs, say)
        for side, pool in pools.items()
    }
    watched = Watched(watching, rules_of(watching, maxima["calibration"], sizes.life))
    return Setting(sizes, parts, asked, pools, maxima, watched)


def victim(folder: Path, part: Part, classes: int, sizes: Sizes) -> Classifier:
    """Train what is attacked."""
    path = folder / "victim.safetensors"
    if not path.exists():
        made = Classifier(Architecture(part.images.shape[1:], classes), sizes.seed)
        made.fit(part.images, part.labels, sizes.epochs)
        write_victim(made, path)
    return read_victim(path)


def networks(folder: Path, part: Part, sizes: Sizes) -> dict[str, Featurizer]:
    """Train the detectors' networks, on the victim's images."""
    plan = TrainPlan(
        features=FEATURES,
        size=sizes.networks,
        epochs=sizes.network_epochs,
        ood_score="mahalanobis",  # takes no outliers: what thieves will send is not known
    )
    if not (folder / "networks" / REPORT).exists():
        train(Dataset(part.images, part.labels), plan, folder / "networks")
    return read_networks(folder)


def read_networks(folder: Path) -> dict[str, Featurizer]:
    """Read them from a bench's folder, by the feature that they make."""
    paths = {name: folder / "networks" / f"{name}.safetensors" for name in FEATURES}
    return {name: load_network(path.read_bytes(), name) for name, path in paths.items()}


def accounts(
    folder: Path,
    parts: Parts,
    groups: Rows | None,
    sizes: Sizes,
    asked: Classifier,
    features: Mapping[str, Featurizer],
) -> dict[str, Pool]:
    """Draw the honest accounts of each side, and note what is answered and seen of their images.

    `groups` `(n,)` are those of the calibration images, if they have some.
    """
    pools = {}
    for number, side in enumerate(SIDES):
        images = getattr(parts, side).images
        rng = np.random.default_rng([sizes.seed, number])
        own = groups if side == "calibration" else None
        drawn = _draw(len(images), own, sizes.accounts, sizes.life, rng)
        pools[side] = make_pool(folder / f"{side}.npz", images, drawn, asked, features)
    return pools


def detectors(
    folder: Path, pool: Pool, groups: Rows | None, sizes: Sizes
) -> dict[str, DetectorProfile]:
    """Choose what is watched, from calibration accounts that set no threshold."""
    path = folder / "watches.json"
    if not path.exists():
        queries = pool.queries()
        rng = np.random.default_rng([sizes.seed, len(SIDES)])
        drawn = _draw(len(queries.images), groups, FITTING, sizes.life, rng)
        write_whole(path, msgspec.json.encode(watch(queries, drawn)))
    return msgspec.json.decode(path.read_bytes(), type=dict[str, DetectorProfile])


def _draw(
    images: int, groups: Rows | None, accounts: int, life: int, rng: np.random.Generator
) -> Rows:
    if groups is None:
        return draw(images, accounts, life, rng)
    return draw_grouped(groups, accounts, life, rng)


def largest(
    path: Path, pool: Pool, watching: Mapping[str, DetectorProfile], jobs: int, say: Advance
) -> dict[str, Floats]:
    """Give by detector the `(accounts, chunks)` largest statistics of a side."""
    if not path.exists():
        write_arrays(path, chunk_maxima(pool, watching, jobs, say))
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in watching}
