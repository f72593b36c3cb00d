"""Lifetime false alarms on benign accounts that neither training nor calibration saw.

    python tests/studies/promise.py --data FOLDER --set mnist --out results/promise

For one image set: trains a victim and the networks, calibrates PRADA, similarity and likelihood at
a promised 1 % over lives of 2,000 queries on 300 accounts, and measures the promise on 300 other
accounts of each population; then what it costs in detection to calibrate with a population in the
mix. Every step is kept in OUT/SET: run again, it goes on. The accounts of one side draw from the
same images, so that they overlap; the two sides share none.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import promise_attacks
from numpy.typing import NDArray
from promise_data import SETS, SIDES, ImageSet, draw, load, victim_for

from gamekeeper.detectors.base import EMBEDDING, LIKELIHOOD, Batch
from gamekeeper.detectors.catalog import FITTED, build
from gamekeeper.detectors.networks import load as load_network
from gamekeeper.replay.tune.calibration.account_rule import threshold
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.replay.tune.evaluation import CHUNK, clopper_pearson
from gamekeeper.replay.tune.evaluation.rates import alarmed_chunks, chunks_of
from gamekeeper.replay.tune.training import TrainPlan, train

ACCOUNTS, LIFE, ALPHA, STEP = 300, 2000, Fraction(1, 100), 250
FITTING = 100
"""Accounts that delta and center are chosen from."""
Arrays = dict[str, NDArray[Any]]
Options = dict[str, dict[str, Any]]


def once(path: Path, make: Callable[[], Any]) -> Any:
    """Make JSON or arrays once; read them back the next time."""
    if path.suffix == ".json":
        if not path.exists():
            path.write_text(json.dumps(make()))
        return json.loads(path.read_text())
    if not path.exists():
        np.savez(path, **make())
    with np.load(path) as arrays:
        return dict(arrays)


def featurize(networks: Path, images: NDArray[np.uint8]) -> Arrays:
    """Run both networks over a pool of images, once for all accounts that draw from it."""
    found = {}
    for name in (EMBEDDING, LIKELIHOOD):
        network = load_network((networks / f"{name}.safetensors").read_bytes())
        parts = np.array_split(images, 1 + len(images) // 256)
        found[name] = np.concatenate([network(part) for part in parts])
    return found


def gather(images: ImageSet, population: str, side: str, networks: Path, victim: Any) -> Arrays:
    """Make a population's pool on one side and its accounts, `(300, life)` rows of the pool."""
    part = images.populations[population][side]
    rng = np.random.default_rng([len(population), SIDES.index(side)])
    life = min(LIFE, len(part.images))
    accounts = np.stack([draw(part, life, rng) for _ in range(ACCOUNTS)])
    return {
        "inputs": part.images,
        "labels": victim(part.images),
        "accounts": accounts,
        **featurize(networks, part.images),
    }


def fitted(pool: Arrays) -> Options:
    """Choose the options that belong to the networks' scale, as `gamekeeper calibrate` does."""
    readings = [
        (
            FITTED["similarity"].read(pool[EMBEDDING][rows]),
            FITTED["likelihood"].read(pool[LIKELIHOOD][rows]),
        )
        for rows in pool["accounts"][:FITTING]
    ]
    return {
        "prada": {},
        "similarity": {
            "delta": FITTED["similarity"].choose([each[0] for each in readings]),
            "secret": 1,
        },
        "likelihood": {"center": FITTED["likelihood"].choose([each[1] for each in readings])},
    }


def batch(pool: Arrays, rows: NDArray[np.int64], first: int) -> Batch:
    """Make a batch of an account's next queries, given as rows of the pool."""
    found = {name: pool[name][rows] for name in (EMBEDDING, LIKELIHOOD)}
    return Batch(first, pool["inputs"][rows], pool["labels"][rows], None, found)


def statistics(pool: Arrays, rows: NDArray[np.int64], name: str, options: Options) -> Any:
    """Run one detector over one account."""
    detector = build(name, options[name])
    starts = range(0, len(rows), STEP)
    parts = [detector.update(batch(pool, rows[at : at + STEP], at)) for at in starts]
    return np.concatenate(parts)


def maxima(path: Path, options: Options, accounts: range) -> dict[str, list[float]]:
    """Give each detector's largest statistic of some accounts of a pool."""
    with np.load(path) as file:
        pool = dict(file)
    return {
        name: [
            float(np.fmax.reduce(statistics(pool, pool["accounts"][each], name, options)))
            for each in accounts
        ]
        for name in options
    }


def all_maxima(path: Path, options: Options) -> dict[str, list[float]]:
    """Do so for all accounts, on all cores."""
    parts = [range(start, min(start + 25, ACCOUNTS)) for start in range(0, ACCOUNTS, 25)]
    # Spawned, not forked: threads of the matrix products do not survive a fork. One thread each.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(partial(maxima, path, options), parts))
    return {name: [value for part in found for value in part[name]] for name in options}


def alarms(pool: Arrays, rows: Any, name: str, options: Options, limit: float) -> tuple[int, int]:
    """Count an account's alarms, where each retires it, and its alarmed chunks of 50."""
    scores = statistics(pool, rows, name, options)
    chunks = len(alarmed_chunks(np.flatnonzero(scores > limit)))
    detector = build(name, options[name])
    count = at = 0
    while at < len(rows):
        part = rows[at : at + CHUNK]
        above = np.flatnonzero(detector.update(batch(pool, part, at)) > limit)
        if len(above):
            detector.reset()
            count += 1
        at += int(above[0]) + 1 if len(above) else len(part)
    return count, chunks


def share(flags: NDArray[np.bool_]) -> str:
    """Say a rate with its exact 95 % interval, in percent."""
    low, high = clopper_pearson(int(flags.sum()), len(flags))
    return f"{100 * flags.mean():.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def thresholds(found: Any, names: list[str], populations: list[str]) -> dict[str, float]:
    """Choose thresholds for 1 % over all detectors together, by the account rule."""
    return {
        name: threshold(
            [value for each in populations for value in found[each]["calibration"][name]],
            ALPHA / len(names),
        )
        for name in names
    }


def tabulate(found: Any, folder: Path, options: Options, limits: dict[str, float]) -> list[str]:
    """Lay out the promise's table: one line per population and detector."""
    lines = [
        "| population | detector | ever alarmed (95 %) | alarms per query | chunk FPR |",
        "| --- | --- | --- | --- | --- |",
    ]
    for population in found:
        largest = found[population]["test"]
        flags = {name: np.array(largest[name]) > limit for name, limit in limits.items()}
        pool = once(folder / f"{slug(population)}-test.npz", dict)
        queries = pool["accounts"].size
        for name, limit in limits.items():
            counts = [
                alarms(pool, pool["accounts"][each], name, options, limit)
                for each in np.flatnonzero(flags[name])
            ]
            total, chunks = np.sum(counts, axis=0) if counts else (0, 0)
            chunk_rate = chunks / (ACCOUNTS * chunks_of(pool["accounts"].shape[1]))
            lines.append(
                f"| {population} | {name} | {share(flags[name])} | {total / queries:.4%} "
                f"| {chunk_rate:.3%} |"
            )
        together = share(np.any(list(flags.values()), axis=0))
        lines.append(f"| {population} | **any** | **{together}** | | |")
    return lines


def mixes(found: Any, names: list[str], attacks: Any) -> list[str]:
    """Lay out what calibrating with a population in the mix changes."""
    lines = [
        "| calibrated on | thresholds | population's lifetime false alarms | attacks caught, "
        "median and worst queries to detection |",
        "| --- | --- | --- | --- |",
    ]
    for other in found:
        populations = ["own"] if other == "own" else ["own", other]
        limits = thresholds(found, names, populations)
        flags = [np.array(found[other]["test"][name]) > limits[name] for name in names]
        shown = ", ".join(f"{name} {limit:.4g}" for name, limit in limits.items())
        lines.append(
            f"| {' + '.join(populations)} | {shown} | {share(np.any(flags, axis=0))} "
            f"| {promise_attacks.caught(attacks, limits)} |"
        )
    return lines


def slug(population: str) -> str:
    """Make a file's name of a population's."""
    return population.replace(": ", "-").replace(" ", "-").lower()


def main() -> None:
    """Run it, step by step, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", choices=SETS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", choices=["paper", "small"], default="paper")
    parser.add_argument("--epochs", type=int, default=12, help="at most, of each phase")
    asked = parser.parse_args()
    folder = asked.out / asked.set
    folder.mkdir(parents=True, exist_ok=True)
    images = load(asked.set, asked.data, np.random.default_rng(0))
    victim = victim_for(images)
    networks = folder / "networks"
    if not (networks / "report.json").exists():
        plan = TrainPlan(size=asked.size, epochs=asked.epochs)
        train(Dataset(images.train, images.labels), plan, networks)
    for population in images.populations:
        for side in SIDES:
            make = partial(gather, images, population, side, networks, victim)
            once(folder / f"{slug(population)}-{side}.npz", make)
    own = once(folder / "own-calibration.npz", dict)
    options: Options = once(folder / "options.json", lambda: fitted(own))
    found = {
        population: {
            side: once(
                folder / f"{slug(population)}-{side}.json",
                partial(all_maxima, folder / f"{slug(population)}-{side}.npz", options),
            )
            for side in SIDES
        }
        for population in images.populations
    }
    attacks = once(
        folder / "attacks.json",
        lambda: promise_attacks.run(images, victim, partial(featurize, networks), options),
    )
    limits = thresholds(found, [*options], ["own"])
    lines = [
        f"# {asked.set}",
        "",
        *tabulate(found, folder, options, limits),
        "",
        *mixes(found, [*options], attacks),
        "",
        *promise_attacks.tabulate(attacks, limits),
    ]
    (folder / "tables.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
