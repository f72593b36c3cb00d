"""Whom `spacing` flags, with a threshold from accounts that send own images only.

    python tests/studies/spacing.py BENCH [--accounts 200] [--runs 5] [--thief TRACE...]

BENCH is a folder of `gamekeeper bench honest`: its victim and its two sets of honest images, of
which the first calibrates. A threshold that 1 % of its accounts of 1,000 queries carry; then as
many accounts of the other images, as many of 3,000 queries as there are runs, accounts of each
habit that draw from these, and recorded attacks (`gamekeeper attack NAME ... --out TRACE`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.detectors.base import Batch
from gamekeeper.detectors.engine import Account, DetectorProfile, Profile, resolve
from gamekeeper.detectors.spacing import Spacing
from gamekeeper.replay.honest.base import Inputs, Labels, Own
from gamekeeper.replay.honest.catalog import HABITS
from gamekeeper.replay.honest.record import Plan, sent
from gamekeeper.replay.theft.victims import read_victim
from gamekeeper.replay.traces import read_trace
from gamekeeper.replay.tune.calibration.account_rule import exact, threshold
from gamekeeper.replay.tune.evaluation import clopper_pearson

LIFE, BATCH, ALPHA, FITTED = 1000, 256, 0.01, 100


class Set:
    """Honest images, and what a victim says of images."""

    def __init__(self, folder: Path, name: str) -> None:
        self.victim = read_victim(folder / "victim.safetensors")
        with np.load(folder / f"{name}.npz") as stored:
            self.images, self.labels = stored["images"], stored["labels"]

    def answers(self, images: Inputs) -> Labels:
        """Ask the victim."""
        parts = range(0, len(images), BATCH)
        return np.concatenate([self.victim(images[at : at + BATCH]).labels for at in parts])

    def accounts(self, count: int, queries: int) -> Iterator[tuple[Inputs, Labels]]:
        """Draw accounts that send own images, each once."""
        labels = self.answers(self.images)
        for number in range(count):
            rows = np.random.default_rng([3, number]).permutation(len(labels))[:queries]
            yield self.images[rows], labels[rows]


def statistics(usual: str, images: Inputs, labels: Labels) -> list[float]:
    """Give an account's statistics after each query, 0 where it is not ready."""
    chosen = DetectorProfile(detector="spacing", options={"usual": usual})
    account = Account(resolve(Profile(name="spacing", detectors=(chosen,))))
    found: list[float] = []
    for at in range(0, len(labels), BATCH):
        part = Batch(at, images[at : at + BATCH], labels[at : at + BATCH])
        found += np.nan_to_num(account.update(part)["spacing"]).tolist()
    return found


def main() -> None:
    """Calibrate, and go through the others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bench", type=Path)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--thief", nargs="+", default=[], type=Path, metavar="TRACE")
    asked = parser.parse_args()
    one, other = Set(asked.bench, "calibration"), Set(asked.bench, "test")
    lives = list(one.accounts(asked.accounts, LIFE))
    fitted = Spacing.fitted
    assert fitted is not None
    rows = [np.column_stack([x.reshape(len(x), -1), y]) for x, y in lives[:FITTED]]
    usual = str(fitted.choose([fitted.read(each) for each in rows]))
    limit = threshold([max(statistics(usual, *each)) for each in lives], exact(ALPHA))
    print(f"usual {usual}, threshold {limit:.3g} from {len(lives)} accounts", flush=True)

    def tell(name: str, accounts: Iterator[tuple[Inputs, Labels]]) -> None:
        first = [
            next((at + 1 for at, value in enumerate(statistics(usual, *each)) if value > limit), 0)
            for each in accounts
        ]
        low, high = clopper_pearson(sum(map(bool, first)), len(first))
        at = [each for each in first if each]
        print(
            f"{name:24s} {len(at)}/{len(first)} ({low:.1%} to {high:.1%})"
            + (f"  at query {np.median(at):.0f} in the median" if at else ""),
            flush=True,
        )

    tell("own images", other.accounts(asked.accounts, LIFE))
    tell("own images, 3,000", other.accounts(asked.runs, 3 * LIFE))
    own = Own(other.images, other.labels)
    for habit, entry in HABITS.items():
        if entry.takes != "rows":
            plan = Plan(habit, asked.runs, LIFE)
            made = (sent(plan, own, number) for number in range(asked.runs))
            tell(habit, ((each, other.answers(each)) for each in made))
    for trace in asked.thief:
        images = np.concatenate([each.event.inputs.array() for each in read_trace([trace])])
        tell(trace.stem, iter([(images, other.answers(images))]))


if __name__ == "__main__":
    main()
