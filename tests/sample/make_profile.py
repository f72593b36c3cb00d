"""Makes the profile that ships beside the sample trace: networks trained, thresholds calibrated.

    python -m sample.make_profile --digits FILE --out replay/sample

FILE is the one that the sample is made from. Of the images that no customer of the sample sends,
half train the networks, and of the other half come the benign accounts that calibrate: customers
with the sample's habits, whose images overlap. The sample itself is used for nothing here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from gamekeeper.detectors.engine import DetectorProfile, Profile, resolve
from gamekeeper.replay.theft import Images, Labels
from gamekeeper.replay.tune.calibration import (
    Calibration,
    Plan,
    adopt,
    calibrate,
    promised,
    write_profile,
)
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.replay.tune.evaluation import cores
from gamekeeper.replay.tune.training import TrainPlan, train
from gamekeeper.schemas.errors import GamekeeperError
from gamekeeper.schemas.tables import write_parquet
from sample import benign
from sample.make_sample import SEED, SEEDS, VICTIM, read_digits, serve, tabulate, train_victim

ACCOUNTS = 47
"""Accounts of each customer's habits: 611 in all, half of which carry 1 % for three detectors."""
EPOCHS = 12
"""At most, of each phase of training."""
PLAN = Plan(alpha=0.01, life=400, fitted=("similarity", "likelihood"))


def benign_accounts(images: Images, labels: Labels, victim: Any) -> pa.Table:
    """Let customers of every habit draw from `(n, 28, 28)` images, each for itself."""
    requests: list[Any] = []
    for number in range(ACCOUNTS):
        for place, customer in enumerate(benign.CUSTOMERS):
            rng = np.random.default_rng([SEED, number, place])
            chosen = benign.choose(customer, labels, np.ones(len(labels), np.bool_), rng)
            account = f"{customer.name}-{number}"
            requests += serve(customer, account, victim, images[chosen], rng)
    return tabulate(requests)


def make(images: Images, labels: Labels, out: Path) -> Calibration:
    """Train on one half of the victim's images, calibrate on accounts of the other."""
    rng = np.random.default_rng(np.random.SeedSequence(SEED).spawn(1)[0])
    order = rng.permutation(len(images))[: VICTIM + SEEDS]  # as the sample orders them
    images, labels = images[order], labels[order]
    victim = train_victim(images[:VICTIM], labels[:VICTIM], rng)
    half = len(images) // 2
    with TemporaryDirectory() as folder:
        networks, trace = Path(folder) / "networks", Path(folder) / "benign.parquet"
        train(
            Dataset(images[:half], labels[:half]), TrainPlan(size="small", epochs=EPOCHS), networks
        )
        write_parquet(benign_accounts(images[half:], labels[half:], victim), trace)
        base = _base(networks, out / "profile.json")
        return calibrate([trace], base, PLAN, name="sample", networks=out, jobs=cores())


def _base(networks: Path, path: Path) -> Profile:
    detectors = (
        DetectorProfile(detector="prada"),
        DetectorProfile(detector="similarity", options={"delta": 1.0}),
        DetectorProfile(detector="likelihood", threshold=0.0),
    )
    refs = adopt(networks, path, {"embedding", "log_likelihood"})
    return resolve(Profile(name="sample", model="digits", detectors=detectors, networks=refs))


def main() -> None:
    """Read the command line and make the profile."""
    parser = argparse.ArgumentParser(description="Make the profile that ships with the sample.")
    parser.add_argument("--digits", type=Path, required=True, help="Parquet of encoded digits")
    parser.add_argument("--out", type=Path, required=True, help="folder of digits.parquet")
    options = parser.parse_args()
    try:
        profile = make(*read_digits(options.digits), options.out).profile
        write_profile(profile, options.out / "profile.json")
    except GamekeeperError as error:
        raise SystemExit(str(error)) from error
    for each in profile.detectors:
        sys.stdout.write(f"{each.detector}: {each.options}, threshold {each.threshold}\n")
    sys.stdout.write("\n".join(promised(profile.promise)) + "\n")


if __name__ == "__main__":
    main()
