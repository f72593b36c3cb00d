"""Which honest habits `steps` calls theft, on any images or rows, and how often in long lives.

    python tests/studies/steps.py DATA... [--accounts 5] [--queries 1000] [--long 20000]
    python tests/studies/steps.py DATA --thief TRACE... [--seeds 100]

Each habit that a data set can have, so many accounts of so many queries that draw from 3,000 of its
inputs; then as many accounts that send own inputs only, each once, for `--long` queries (or as many
as there are). No network is needed, no threshold is chosen: it is the detector's own.

With `--thief`, recorded attacks (`gamekeeper attack NAME ... --out TRACE`) hide among own inputs
instead: their queries, in their order, are a tenth, a twentieth or 3 % of what an account sends, at
random places. Given is which of the made queries alarms, `--seeds` natural ones sent before it.
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
from gamekeeper.replay.honest.base import Inputs, Own
from gamekeeper.replay.honest.catalog import HABITS
from gamekeeper.replay.honest.record import Plan, sent
from gamekeeper.replay.traces import read_trace
from gamekeeper.replay.tune.datasets.load import load_dataset
from gamekeeper.replay.tune.evaluation import clopper_pearson, garwood

INPUTS = 3000
BATCH = 256
SHARES = 0.1, 0.05, 0.03
LARGEST = 10_000
STEPS = resolve(Profile(name="steps", detectors=(DetectorProfile(detector="steps"),)))


def largest(inputs: Inputs) -> tuple[float, int]:
    """Give the largest statistic of an account that sends these, and after how many it alarms."""
    account, parts = Account(STEPS), []
    for first in range(0, len(inputs), BATCH):
        part = inputs[first : first + BATCH]
        found = account.update(Batch(first, part, np.zeros(len(part), np.int64)))
        parts.append(np.nan_to_num(found["steps"]))
    values = np.concatenate(parts)
    [limit] = [each.threshold for each in STEPS.detectors]
    above = np.flatnonzero(values > limit)
    return float(values.max()), int(above[0]) + 1 if len(above) else 0


def habits(own: Own, accounts: int, queries: int) -> Iterator[tuple[str, list[float], int]]:
    """Give each habit's largest statistics, and how many accounts alarm."""
    takes = "rows" if own.inputs.ndim == 2 else "images"
    for name, entry in HABITS.items():
        if entry.takes in ("any", takes):
            plan = Plan(name, accounts, queries)
            found = [largest(sent(plan, own, number)) for number in range(accounts)]
            yield name, [value for value, _ in found], sum(at > 0 for _, at in found)


def report(path: str, accounts: int, queries: int, long: int) -> None:
    """Print what was found on one set."""
    data = load_dataset([path], limit=max(INPUTS, long))
    rng = np.random.default_rng(0)
    order = rng.permutation(len(data.labels))
    inputs, labels = np.asarray(data.inputs)[order], np.asarray(data.labels)[order]
    flagged = total = 0
    for name, values, alarms in habits(Own(inputs[:INPUTS], labels[:INPUTS]), accounts, queries):
        flagged, total = flagged + alarms, total + len(values)
        if max(values) > 0:
            shown = ", ".join(f"{value:.0f}" for value in values)
            print(f"  {name:24s} {alarms}/{len(values)} alarm; most steps in a window: {shown}")
    low, high = clopper_pearson(flagged, total)
    print(f"  all: {flagged}/{total} alarm ({low:.2%} to {high:.2%})", flush=True)
    exposure = alarms = 0
    for number in range(accounts):
        mine = inputs[np.random.default_rng([1, number]).permutation(len(inputs))[:long]]
        _, at = largest(mine)
        exposure, alarms = exposure + (at or len(mine)), alarms + (at > 0)
    low, high = garwood(alarms, exposure / 1e6)
    print(
        f"  own inputs only, {exposure / accounts:,.0f} queries each: {alarms}/{accounts} alarm, "
        f"{low:.3g} to {high:.3g} per million queries",
        flush=True,
    )


def hidden(own: Inputs, thief: Inputs, share: float, seed: int, seeds: int) -> str:
    """Say after how many made queries a thief is seen who hides among own inputs."""
    rng = np.random.default_rng(seed)
    sent = min(int(len(thief) / share), len(own))
    most = round(share * sent)
    places = np.sort(rng.choice(sent, most, replace=False))
    inputs = own[rng.permutation(len(own))[:sent]].copy()
    inputs[places] = thief[:most]
    _, at = largest(inputs)
    return f"{int((places < at).sum()) - seeds}" if at else f"not in {most - seeds}"


def report_thieves(path: str, traces: list[str], seeds: int, runs: int) -> None:
    """Print when each attack is seen among the own inputs of a set."""
    own = np.asarray(load_dataset([path], limit=LARGEST).inputs)
    for trace in traces:
        events = read_trace([Path(trace)])
        thief = np.concatenate([each.event.inputs.array() for each in events])
        for share in SHARES:
            found = [hidden(own, thief, share, seed, seeds) for seed in range(runs)]
            print(f"{Path(trace).stem:20s} {share:4.0%}  {', '.join(found)}", flush=True)


def main() -> None:
    """Go through the sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+")
    parser.add_argument("--accounts", type=int, default=5)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--long", type=int, default=20_000)
    parser.add_argument("--thief", nargs="+", default=[], metavar="TRACE")
    parser.add_argument("--seeds", type=int, default=100)
    asked = parser.parse_args()
    if asked.thief:
        report_thieves(asked.data[0], asked.thief, asked.seeds, asked.accounts)
        return
    for path in asked.data:
        print(Path(path).name, flush=True)
        report(path, asked.accounts, asked.queries, asked.long)


if __name__ == "__main__":
    main()
