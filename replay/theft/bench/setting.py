"""What all runs of a bench share: a victim, networks, thresholds, and honest accounts.

Made once, in steps that are kept in the bench's folder, so that an interrupted bench goes on. All
thresholds come from the calibration accounts, which draw from a third of the groups each where data
has groups (see `benign.draw_grouped`); the test accounts draw from all, and say what they cost.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import torch

from gamekeeper.detectors.base import LIKELIHOOD, Featurizer, Floats
from gamekeeper.detectors.engine import DetectorProfile
from gamekeeper.detectors.networks import load as load_network
from gamekeeper.replay.theft.bench.benign import chunk_maxima, draw, draw_grouped
from gamekeeper.replay.theft.bench.cell import running_means
from gamekeeper.replay.theft.bench.parts import Parts, cut, rows_of
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


class Setting:
    """A victim with its watchers; see the module's text.

    `watched` are all detectors that are looked at, and the rules; `maxima` has of each side the
    detectors' largest statistics by chunk.
    """

    def __init__(self, folder: Path, data: Dataset, sizes: Sizes, jobs: int, say: Advance) -> None:
        """Make what is not in the folder yet; `say` is told of accounts done."""
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)  # sums in another order are other bits
        self.folder, self.sizes = folder, sizes
        rows = rows_of(data, np.random.default_rng(sizes.seed))
        self.parts: Parts = cut(data, rows)
        self._groups = None if data.groups is None else data.groups[rows["calibration"]]
        self.classes = int(data.labels.max()) + 1
        self.victim = self._victim()
        self.networks = self._networks()
        self.pools = {side: self._pool(side) for side in SIDES}
        detectors = self._detectors()
        self.maxima = {side: self._maxima(side, detectors, jobs, say) for side in SIDES}
        rules = rules_of(detectors, self.maxima["calibration"], sizes.life)
        self.watched = Watched(detectors, rules)

    def accuracy(self) -> float:
        """Say how often the victim is right on the honest accounts' held-out images."""
        part = self.parts.test
        return float(np.mean(self.victim(part.images).labels == part.labels))

    def likelihood(self) -> Floats:
        """Average each test account's log-likelihoods; `(accounts, points)`, see `cell.points`."""
        pool = self.pools["test"]
        values = pool.queries().features[LIKELIHOOD][:, 0].astype(np.float64)
        return running_means(values[pool.accounts()])

    def _victim(self) -> Classifier:
        path, part = self.folder / "victim.safetensors", self.parts.victim
        if not path.exists():
            shape = part.images.shape[1:]
            victim = Classifier(Architecture(shape, self.classes), self.sizes.seed)
            victim.fit(part.images, part.labels, self.sizes.epochs)
            write_victim(victim, path)
        return read_victim(path)

    def _networks(self) -> dict[str, Featurizer]:
        folder, part = self.folder / "networks", self.parts.victim
        plan = TrainPlan(
            features=FEATURES,
            size=self.sizes.networks,
            epochs=self.sizes.network_epochs,
            ood_score="mahalanobis",  # takes no outliers: what thieves will send is not known
        )
        if not (folder / REPORT).exists():
            train(Dataset(part.images, part.labels), plan, folder)
        return {
            name: load_network((folder / f"{name}.safetensors").read_bytes(), name)
            for name in FEATURES
        }

    def _pool(self, side: str) -> Pool:
        images = getattr(self.parts, side).images
        rng = np.random.default_rng([self.sizes.seed, SIDES.index(side)])
        accounts = self._draw(side, len(images), self.sizes.accounts, rng)
        path = self.folder / f"{side}.npz"
        return make_pool(path, images, accounts, self.victim, self.networks)

    def _draw(self, side: str, images: int, accounts: int, rng: np.random.Generator) -> Rows:
        if side == "calibration" and self._groups is not None:
            return draw_grouped(self._groups, accounts, self.sizes.life, rng)
        return draw(images, accounts, self.sizes.life, rng)

    def _detectors(self) -> dict[str, DetectorProfile]:
        path = self.folder / "watches.json"
        if not path.exists():
            queries = self.pools["calibration"].queries()
            rng = np.random.default_rng([self.sizes.seed, len(SIDES)])
            accounts = self._draw("calibration", len(queries.images), FITTING, rng)
            write_whole(path, msgspec.json.encode(watch(queries, accounts)))
        return msgspec.json.decode(path.read_bytes(), type=dict[str, DetectorProfile])

    def _maxima(
        self, side: str, detectors: dict[str, DetectorProfile], jobs: int, say: Advance
    ) -> dict[str, Floats]:
        path = self.folder / f"{side}-maxima.npz"
        if not path.exists():
            found = chunk_maxima(self.pools[side], detectors, jobs, say)
            write_arrays(path, found)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in detectors}
