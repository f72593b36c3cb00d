"""What all runs of a bench share: a victim, networks, thresholds, and honest accounts.

Made once, in steps that are kept in the bench's folder, so that an interrupted bench goes on. All
thresholds come from the calibration accounts, which draw from a third of the groups each where data
has groups (see `benign.draw_grouped`); the test accounts draw from all, and say what they cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import torch

from gamekeeper.detectors.base import LIKELIHOOD, Featurizer, Floats
from gamekeeper.detectors.catalog import DETECTORS, FITTED
from gamekeeper.detectors.networks import load as load_network
from gamekeeper.replay.theft.bench.benign import chunk_maxima, draw, draw_grouped
from gamekeeper.replay.theft.bench.cell import running_means
from gamekeeper.replay.theft.bench.parts import Parts, cut, rows_of
from gamekeeper.replay.theft.bench.pools import Pool, make_pool, write_arrays
from gamekeeper.replay.theft.bench.watch import Queries, Rows, Watch
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.victims import read_victim, write_victim
from gamekeeper.replay.tune.calibration.account_rule import threshold
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.replay.tune.processes import Advance
from gamekeeper.replay.tune.training import FEATURES, REPORT, Size, TrainPlan, train
from gamekeeper.schemas.files import write_whole

SIDES = ("calibration", "test")
FITTING = 100
"""Accounts that delta, center and cut are chosen from: others than those that set thresholds, drawn
from the same images."""
COMBINED = ("prada", *FITTED)
"""The detectors of a profile with networks, which share its alpha."""
ALPHA = Fraction(1, 100)
"""The lifetime false-alarm rate that thresholds promise."""
PER_QUERY = Fraction(1, 10_000)
"""Alarms per benign query that Zhang and Wagner tune to (section VIII-A)."""
DELTAS = (0.87, 0.90, 0.94, 0.95, 0.96)
"""PRADA's thresholds on W (version 2, Table VIII); an alarm is a W below."""


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

    `watches` are all detectors that are looked at, by name; `limits` maps the name of each rule to
    the thresholds of the detectors that it uses.
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
        self.watches = self._watches()
        self.maxima = {side: self._maxima(side, jobs, say) for side in SIDES}
        self.limits = limits_of(self.maxima["calibration"], sizes.life)

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

    def _watches(self) -> dict[str, Watch]:
        path = self.folder / "watches.json"
        if not path.exists():
            queries = self.pools["calibration"].queries()
            rng = np.random.default_rng([self.sizes.seed, len(SIDES)])
            accounts = self._draw("calibration", len(queries.images), FITTING, rng)
            write_whole(path, msgspec.json.encode(watches_of(queries, accounts)))
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Watch])

    def _maxima(self, side: str, jobs: int, say: Advance) -> dict[str, Floats]:
        path = self.folder / f"{side}-maxima.npz"
        if not path.exists():
            found = chunk_maxima(self.pools[side], self.watches, jobs, say)
            write_arrays(path, found)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in self.watches}


def watches_of(queries: Queries, accounts: Rows) -> dict[str, Watch]:
    """Choose the detectors and the options that belong to the networks' scale."""
    watches = {
        "prada": Watch("prada", {}),
        "prada-paper": Watch("prada", {"mode": "paper"}),
        "prada-v1": Watch("prada-v1", {}),
    }
    for name, fitted in FITTED.items():
        values = queries.features[DETECTORS[name].feature]
        chosen = fitted.choose([fitted.read(values[rows]) for rows in accounts])
        watches[name] = Watch(name, {fitted.option: chosen})
    watches["similarity"].options["secret"] = 1
    return watches


def limits_of(maxima: Mapping[str, Floats], life: int) -> dict[str, dict[str, float]]:
    """Choose the thresholds of every rule from calibration accounts' chunks.

    * `combined`: the profile's detectors together, 1 % of lives, alpha split evenly;
    * the name of a detector: it alone, with all of alpha;
    * `NAME per query`: one alarm in 10,000 benign queries, were an account to end at its first;
    * `prada W < DELTA`: PRADA's Algorithm 3 at the paper's thresholds.
    """
    largest = {name: values.max(axis=1).tolist() for name, values in maxima.items()}
    rules: dict[str, dict[str, float]] = {
        "combined": {name: threshold(largest[name], ALPHA / len(COMBINED)) for name in COMBINED}
    }
    for name in largest:
        rules[name] = {name: threshold(largest[name], ALPHA)}
    for name in ("similarity", "likelihood"):
        rules[f"{name} per query"] = {name: threshold(largest[name], PER_QUERY * life)}
    for each in DELTAS:
        rules[f"prada W < {each:.2f}"] = {"prada-paper": 1 - each}
    return rules
