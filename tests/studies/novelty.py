"""What `novelty` sees where the calibration has every habit, beside thresholds of each detector.

    python tests/studies/novelty.py BENCH --folder SCORES [--thief TRACE...]

BENCH is a folder of `gamekeeper bench honest`: its victim, networks and two sets of honest images.
Accounts of each habit that draw from the first set calibrate, such as draw from the second are
judged, and recorded attacks (`gamekeeper attack NAME ... --out TRACE`). What detectors say of each
account is kept in SCORES, so that the study goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.engine import Account, DetectorProfile, Profile, resolve
from gamekeeper.detectors.novelty import Novelty, filled, written
from gamekeeper.detectors.spacing import Spacing
from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.honest.catalog import HABITS
from gamekeeper.replay.honest.record import Plan, sent
from gamekeeper.replay.theft.bench.pools import Queries, featurize
from gamekeeper.replay.theft.bench.run import shared
from gamekeeper.replay.traces import read_trace
from gamekeeper.replay.tune.calibration.account_rule import exact, threshold
from gamekeeper.replay.tune.calibration.habits import EVERY, habits
from gamekeeper.replay.tune.evaluation import clopper_pearson

READ = ("prada", "similarity", "likelihood", "ood", "spacing")
LIFE, SPLITS, FITTED = 1000, 5, 100
HIDDEN = ("augment", "mixup", "cutmix", "class-gaussian", "jba-pgd", "color")
"""Attacks that are hidden in habits, too: some of each kind that `novelty` sees."""


class Scored(NamedTuple):
    """An account's habit, and what detectors said after each query `(n, m)`, `steps` `(n,)`."""

    habit: str
    statistics: Floats
    steps: Floats


class Scorer:
    """Says what detectors say, once for each account."""

    def __init__(self, bench: Path, folder: Path) -> None:
        self.have, self.bench, self.folder = shared(bench), bench, folder
        folder.mkdir(parents=True, exist_ok=True)
        watched = self.have.watched.detectors
        spacing = DetectorProfile(detector="spacing", options={"usual": self._usual()})
        self.detectors = (*(watched[name] for name in READ[:-1]), spacing, watched["steps"])

    def own(self, name: str) -> Own:
        """Read one of the bench's two sets of honest images."""
        with np.load(self.bench / f"{name}.npz") as stored:
            return Own(stored["images"], stored["labels"])

    def _usual(self) -> str:
        kept, fitted = self.folder / "usual.txt", Spacing.fitted
        assert fitted is not None
        if not kept.exists():
            images = self.own("calibration").inputs
            labels, rows = self.have.victim(images).labels, []
            for number in range(FITTED):
                mine = np.random.default_rng([3, number]).permutation(len(labels))[:LIFE]
                rows.append(np.column_stack([images[mine].reshape(LIFE, -1), labels[mine]]))
            kept.write_text(str(fitted.choose([fitted.read(each) for each in rows])))
        return kept.read_text()

    def account(self, name: str, habit: str, images: Callable[[], Inputs]) -> Scored:
        """Read what was said of an account, or let it be said."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            found = self._score(images())
            np.savez(path.with_suffix(".tmp.npz"), **{k: v.astype("f4") for k, v in found.items()})
            path.with_suffix(".tmp.npz").rename(path)
        with np.load(path) as stored:
            known = filled(np.column_stack([stored[each] for each in READ]).astype(np.float64))
            return Scored(habit, known, stored["steps"].astype(np.float64))

    def _score(self, images: Inputs) -> dict[str, Floats]:
        answers, networks = self.have.victim(images), self.have.networks
        features = featurize(networks, images)
        asked = Queries(images, answers.labels, answers.probabilities, features)
        account = Account(resolve(Profile(name="study", detectors=self.detectors)))
        parts = [account.update(batch) for batch in asked.batches(np.arange(len(images)))]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def honest(self, side: str, images: str, habits: int, own: int) -> Iterator[Scored]:
        """Give accounts of each habit, and such as send own images only."""
        drawn = self.own(images)
        for name, entry in HABITS.items():
            if entry.takes != "rows":
                plan = Plan(name, 1000, LIFE)
                for number in range(own if name == "own" else habits):
                    yield self.account(
                        f"{side}--{name}--{number}",
                        name,
                        lambda plan=plan, number=number: sent(plan, drawn, number),
                    )

    def thief(self, trace: Path) -> Scored:
        """Give a recorded attack."""
        return self.account(
            f"thief--{trace.stem}--0",
            trace.stem,
            lambda: np.concatenate([each.event.inputs.array() for each in read_trace([trace])]),
        )

    def hidden(self, trace: Path, habit: str, every: int) -> Scored:
        """Give an account of a habit, one of whose queries in `every` is of a recorded attack."""

        def mixed() -> Inputs:
            attack = np.concatenate([each.event.inputs.array() for each in read_trace([trace])])
            images = sent(Plan(habit, 1000, LIFE), self.own("test"), 900)
            places = np.arange(every - 1, LIFE, every)[: len(attack)]
            images[places] = attack[: len(places)].reshape(-1, *images.shape[1:])
            return images

        name = f"{trace.stem} in {habit}, 1 of {every}"
        return self.account(f"hidden--{trace.stem}--{habit}--{every}", name, mixed)


Rule = Callable[[Scored], Floats]
"""Says after which queries `(n,)` an account alarms."""


def alone(judging: Sequence[Scored], alpha: float) -> Rule:
    """Give each detector its threshold, and an equal share of alpha."""
    share = exact(alpha) / len(READ)
    largest = np.array(
        [np.fmax.reduce(each.statistics, axis=0, initial=-np.inf) for each in judging]
    )
    limits = [threshold(column.tolist(), share) for column in largest.T]
    return lambda account: (account.statistics > limits).any(axis=1)


def together(teaching: Sequence[Scored], judging: Sequence[Scored], alpha: float) -> Rule:
    """Learn habits of some accounts, and a threshold of others."""
    looks = [each.statistics[EVERY - 1 :: EVERY] for each in teaching]
    detector = Novelty(habits=written(habits(READ, looks)))

    def distances(account: Scored) -> Floats:
        detector.reset()
        none = np.zeros(len(account.steps), np.int64)
        return detector.update(Batch(0, none[:, None], none, statistics=account.statistics))

    limit = threshold([float(np.nanmax(distances(each))) for each in judging], exact(alpha))
    return lambda account: distances(account) > limit


def halves(accounts: Sequence[Scored], seed: int) -> tuple[list[Scored], list[Scored]]:
    """Split at random."""
    order = np.random.default_rng(seed).permutation(len(accounts)).tolist()
    middle = len(order) // 2
    return [accounts[at] for at in order[:middle]], [accounts[at] for at in order[middle:]]


def tell(
    name: str, rules: Sequence[Rule], test: Sequence[Scored], thieves: Sequence[Scored]
) -> None:
    """Print whom rules flag: of honest accounts how many, of thieves which, and when."""
    flagged = [[bool(rule(each).any()) for each in test] for rule in rules]
    low, high = clopper_pearson(sum(flagged[0]), len(test)) if test else (0.0, 1.0)
    seen = [[np.flatnonzero(rule(each)) for each in thieves] for rule in rules]
    caught = np.array([[len(rows) > 0 for rows in each] for each in seen], bool)
    steps = np.array([(each.steps > 5).any() for each in thieves], bool)
    rate = np.mean(flagged) if test else 0.0
    print(
        f"\n{name}: {rate:.1%} of {len(test)} honest accounts in the mean of "
        f"{len(rules)} splits (the first: {low:.1%} to {high:.1%}); thieves "
        f"{caught.sum(axis=1).mean():.1f} of {len(thieves)}, with steps "
        f"{(caught | steps).sum(axis=1).mean():.1f} (steps alone {steps.sum()})",
        flush=True,
    )
    for row, thief in enumerate(thieves):
        at = [int(each[row][0]) + 1 for each in seen if len(each[row])]
        if at:
            print(f"  {thief.habit:20s} {len(at)}/{len(rules)} at query {np.median(at):.0f}")
    by: dict[str, list[bool]] = {}
    for split in flagged:
        for each, hit in zip(test, split, strict=True):
            by.setdefault(each.habit, []).append(hit)
    told = [f"{habit} {np.mean(hits):.0%}" for habit, hits in by.items() if any(hits)]
    print(f"  honest: {', '.join(told) or 'none'}", flush=True)


def main() -> None:
    """Score what is not scored yet; then calibrate in several ways, and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bench", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--habit", type=int, default=16, help="calibrating accounts of each")
    parser.add_argument("--own", type=int, default=200)
    parser.add_argument("--thief", nargs="+", default=[], type=Path, metavar="TRACE")
    asked = parser.parse_args()
    scorer = Scorer(asked.bench, asked.folder)
    thieves = [scorer.thief(each) for each in asked.thief]
    test = list(scorer.honest("test", "test", 5, 50))
    everybody = list(scorer.honest("cal", "calibration", asked.habit, asked.own))
    print(f"{len(everybody)} accounts calibrate, {len(test)} are judged, {len(thieves)} thieves")
    for alpha in (0.02, 0.05):
        tell(f"alpha {alpha}, each alone", [alone(everybody, alpha)], test, thieves)
        for part in (4, 2, 1):
            some = everybody[::part]
            rules = [together(*halves(some, seed), alpha) for seed in range(SPLITS)]
            tell(f"alpha {alpha}, novelty of {len(some)}", rules, test, thieves)
    print("\nhidden in a habit, alpha 0.05:")
    among = [
        scorer.hidden(each, habit, every)
        for each in asked.thief
        if each.stem in HIDDEN
        for habit in ("own", "crops")
        for every in (2, 4, 10)
    ]
    rules = [together(*halves(everybody, seed), 0.05) for seed in range(SPLITS)]
    tell("novelty", rules, [], among)
    tell("each alone", [alone(everybody, 0.05)], [], among)
    print("\na family that calibration has not seen, alpha 0.02:")
    for family in sorted({HABITS[each.habit].family for each in test} - {"own"}):
        seen = [each for each in everybody if HABITS[each.habit].family != family]
        unseen = [each for each in test if HABITS[each.habit].family == family]
        tell(family, [together(*halves(seen, 0), 0.02)], unseen, [])
        tell(f"{family}, each alone", [alone(seen, 0.02)], unseen, [])
    own = [each for each in everybody if each.habit == "own"]
    mine = [each for each in test if each.habit == "own"]
    print("\nown images only, alpha 0.05:")
    tell("each alone", [alone(own, 0.05)], mine, thieves)
    tell("novelty", [together(*halves(own, seed), 0.05) for seed in range(SPLITS)], mine, thieves)


if __name__ == "__main__":
    main()
