"""What a thief who looks honest gains over sending his originals alone.

    python tests/studies/gain.py DATA... [--limit 10000] [--queries 100 500 1000] [--runs 3]

DATA are labelled images, cut as `gamekeeper bench` cuts them: a victim, a thief with ten seeds of
each class and the rest of his part as a pool, images that neither has seen. Each figure is the
agreement with the victim on these of a copy that is trained on what so many queries brought: the
mean of the runs, and their range. A hundred queries are the seeds alone, but of `smoothing`, which
keeps them back. Three rows are no attacks:

* `augment, not asked`: variants that have the answers to their seeds, for which nothing is asked;
* `own images`: seeds and pool, unchanged, for as many queries;
* `own images, a third`: those that `smoothing` makes its queries from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.replay.theft import Images, Labels, Start
from gamekeeper.replay.theft.attacks import attack
from gamekeeper.replay.theft.bench.parts import Parts, cut, rows_of, start
from gamekeeper.replay.theft.bench.run import EPOCHS, SHOWN
from gamekeeper.replay.theft.bench.setting import Sizes
from gamekeeper.replay.theft.craft import variants
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.recording import PER_CLASS, Recorder, run
from gamekeeper.replay.tune.datasets.load import load_dataset

ATTACKS = (
    "augment",
    "augment-half",
    "augment-sorted",
    "augment-uncertain",
    "mixup",
    "cutmix",
    "vae",
    "class-gaussian",
    "smoothing",
)
COPIES = 3
"""Of each image, as `smoothing` sends."""
Had = tuple[Images, Labels]
"""What a copy is trained on, oldest first."""


class Thieves:
    """A victim, and how well copies agree with it."""

    def __init__(self, parts: Parts) -> None:
        shape, classes = parts.victim.images.shape[1:], int(parts.victim.labels.max()) + 1
        self._parts = parts
        self._architecture = Architecture(shape, classes)
        self.victim = Classifier(self._architecture, Sizes().seed)
        self.victim.fit(parts.victim.images, parts.victim.labels, Sizes().epochs)
        self._truth = self.victim(parts.test.images).labels

    def begin(self, number: int) -> Start:
        """Draw what the thief of a run starts with, as a bench does."""
        rng = np.random.default_rng([number, 7])
        return start(self._parts.thief, None, self._architecture.classes, PER_CLASS, rng)

    def agreement(self, had: Had, number: int) -> float:
        """Train a copy as a bench does, and compare it."""
        copy = Classifier(self._architecture, number)
        copy.fit(*had, int(np.clip(SHOWN // len(had[1]), *EPOCHS)))
        return float(np.mean(copy(self._parts.test.images).labels == self._truth))


def taken(thieves: Thieves, number: int, budget: int) -> Iterator[tuple[str, Had, int]]:
    """Give each row's images and labels, and how many queries it takes for one of them."""
    begin = thieves.begin(number)
    seeds = thieves.victim(begin.seeds).labels
    for name in ATTACKS:
        rng = np.random.default_rng([number, 11])
        loot = run(attack(name), Recorder(thieves.victim), begin, budget, rng).loot
        yield name, (loot.images, loot.labels), 1
    rows = np.arange(budget - len(seeds)) % len(seeds)
    made = variants(begin.seeds[rows], 1.0, np.random.default_rng([number, 11]))
    images = np.concatenate([begin.seeds, made])
    yield "augment, not asked", (images, np.concatenate([seeds, seeds[rows]])), 1
    own = np.concatenate([begin.seeds, begin.pool])
    yield "own images", (own, thieves.victim(own).labels), 1
    yield "own images, a third", (own, thieves.victim(own).labels), COPIES


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+")
    parser.add_argument("--limit", type=int, default=10_000)
    parser.add_argument("--queries", type=int, nargs="+", default=[100, 500, 1000])
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = load_dataset(asked.data, limit=asked.limit)
    thieves = Thieves(cut(data, rows_of(data, np.random.default_rng(Sizes().seed))))
    found: dict[str, list[list[float]]] = {}
    for number in range(asked.runs):
        for name, (images, labels), each in taken(thieves, number, max(asked.queries)):
            counts = [queries // each for queries in asked.queries]
            row = [thieves.agreement((images[:n], labels[:n]), number) for n in counts]
            found.setdefault(name, []).append(row)
            print(f"run {number}, {name}: {row}", file=sys.stderr, flush=True)
    print("| attack | " + " | ".join(f"{n} queries" for n in asked.queries) + " |")
    print("| --- " * (1 + len(asked.queries)) + "|")
    for name, rows in found.items():
        columns = zip(*rows, strict=True)
        cells = [f"{np.mean(c):.3f} ({min(c):.3f}-{max(c):.3f})" for c in columns]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
