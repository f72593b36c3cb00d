"""The false-alarm promise over other cuts of the same honest images.

    python tests/studies/cuts.py gtsrb_train.parquet --group track --bench gtsrb

A bench cuts honest images into calibration's and test's once, and all accounts of a side draw from
the same half: its false-alarm rate is one draw. Here the two halves are put together and cut anew
at random, groups whole. Detectors are fitted and thresholds chosen on one half, and accounts that
draw from the other are judged. The victim, the networks, how accounts draw, their number and, but
for `--life`, that of their queries are the bench's; where images have no groups, each is its own,
so that a third of them at random is no other draw. Each cut is kept in the bench's folder: run
again, it goes on.
"""

from __future__ import annotations

import argparse
from functools import lru_cache, partial
from pathlib import Path
from statistics import mean, median

import msgspec
import numpy as np
from msgspec import structs

from gamekeeper.detectors.engine import DetectorProfile
from gamekeeper.replay.cli.reading import read_data
from gamekeeper.replay.theft.bench.benign import draw, draw_grouped
from gamekeeper.replay.theft.bench.judge import statistics
from gamekeeper.replay.theft.bench.parts import rows_of
from gamekeeper.replay.theft.bench.pools import Queries, Rows, load_pool
from gamekeeper.replay.theft.bench.rules import ALPHA, COMBINED, watch
from gamekeeper.replay.theft.bench.setting import FITTING, SIDES, Sizes
from gamekeeper.replay.theft.bench.tables import markdown
from gamekeeper.replay.tune.calibration.account_rule import threshold
from gamekeeper.replay.tune.processes import over
from gamekeeper.schemas.files import write_whole
from gamekeeper.stream.cli.progress import progress

ANY = "any"


@lru_cache(maxsize=1)
def honest(folder: Path) -> Queries:
    """Put the bench's two sides together, calibration's first."""
    sides = [load_pool(str(folder / f"{side}.npz"))[0] for side in SIDES]
    return Queries(
        np.concatenate([each.images for each in sides]),
        np.concatenate([each.labels for each in sides]),
        np.concatenate([each.probabilities for each in sides]),
        {
            name: np.concatenate([each.features[name] for each in sides])
            for name in sides[0].features
        },
    )


def halves(groups: Rows, rng: np.random.Generator) -> list[Rows]:
    """Cut images at random into two halves, groups whole."""
    numbers = rng.permutation(np.unique(groups))
    return [np.flatnonzero(np.isin(groups, each)) for each in np.array_split(numbers, 2)]


def maxima(
    folder: Path, detectors: dict[str, DetectorProfile], rows: tuple[int, ...]
) -> dict[str, float]:
    """Give each detector's largest statistic of one account."""
    found = statistics(detectors, honest(folder).batches(np.array(rows)))
    return {name: float(np.fmax.reduce(values)) for name, values in found.items()}


def rates(folder: Path, groups: Rows, sizes: Sizes, number: int, jobs: int) -> dict[str, float]:
    """Calibrate on one half, and give the share of the other's accounts that ever alarm."""
    rng = np.random.default_rng([sizes.seed, number, 23])
    mine, others = halves(groups, rng)
    chosen = watch(honest(folder), mine[draw_grouped(groups[mine], FITTING, sizes.life, rng)])
    detectors = {name: chosen[name] for name in COMBINED}
    calibration = mine[draw_grouped(groups[mine], sizes.accounts, sizes.life, rng)]
    test = others[draw(len(others), sizes.accounts, sizes.life, rng)]
    sent = [tuple(each.tolist()) for each in np.concatenate([calibration, test])]
    with progress() as bar:
        task = bar.add_task(f"cut {number}", total=None)
        found = {}
        for rows, largest in over(partial(maxima, folder, detectors), sent, jobs):
            found[rows] = largest
            bar.update(task, completed=len(found), total=len(sent))
    flags = {}
    for name in COMBINED:
        most = [found[each][name] for each in sent]
        limit = threshold(most[: sizes.accounts], ALPHA / len(COMBINED))
        flags[name] = np.array(most[sizes.accounts :]) > limit
    flags[ANY] = np.any(list(flags.values()), axis=0)
    return {name: float(each.mean()) for name, each in flags.items()}


def tabulate(cuts: list[dict[str, float]]) -> list[str]:
    """Lay out the cuts, and their mean, median and worst."""
    columns = {name: [100 * each[name] for each in cuts] for name in cuts[0]}
    rows = [
        (name, f"{mean(values):.1f} %", f"{median(values):.1f} %", f"{max(values):.1f} %")
        for name, values in columns.items()
    ]
    shown = ", ".join(f"{value:.1f}" for value in sorted(columns[ANY]))
    head = ("detector", "mean", "median", "worst cut")
    return [*markdown(head, rows), "", f"{ANY}, {len(cuts)} cuts, in percent: {shown}"]


def main() -> None:
    """Run it, cut by cut, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--group", help="as the bench had it")
    parser.add_argument("--limit", type=int, help="as the bench had it")
    parser.add_argument("--bench", type=Path, required=True, help="the bench's --out")
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--life", type=int, help="queries of an account; the bench's otherwise")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    plan = msgspec.json.decode((asked.bench / "bench.json").read_bytes())
    sizes = msgspec.convert(plan["sizes"], Sizes)
    data = read_data(asked.data, limit=asked.limit, seed=sizes.seed, group=asked.group)
    if data.digest() != plan["data"]:
        parser.error(f"{asked.bench} is of other data: give DATA, --group and --limit as to it")
    sizes = structs.replace(sizes, life=asked.life or sizes.life)
    rows = rows_of(data, np.random.default_rng(sizes.seed))
    numbers = np.arange(len(data)) if data.groups is None else data.groups
    groups = np.concatenate([numbers[rows[side]] for side in SIDES])
    cuts = []
    for number in range(asked.cuts):
        path = asked.bench / "cuts" / str(sizes.life) / f"{number}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            found = rates(asked.bench, groups, sizes, number, asked.jobs)
            write_whole(path, msgspec.json.encode(found))
        cuts.append(msgspec.json.decode(path.read_bytes(), type=dict[str, float]))
    print("\n".join(tabulate(cuts)))


if __name__ == "__main__":
    main()
