"""What `bench_networks.py` measures: networks of the paper's size, images, and accounts' events."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.detectors.engine import Arrival, DetectorProfile, Profile, Source, resolve
from gamekeeper.detectors.networks import NetworkFeaturizer, build, dump, load
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tensor import Tensor
from support.digits import digits

ACCOUNTS = 32
CLASSES = 10
NETWORKS = ("conv-encoder", "vq-vae")
Images = NDArray[np.uint8]
Rows = dict[str, NDArray[np.float32]]
"""A feature's name to its rows, one per image."""


def grey(n: int) -> Images:
    """Draw digits, `(n, 28, 28)`."""
    parts = [digits(min(1000, n - at), seed=at)[0] for at in range(0, n, 1000)]
    return (np.concatenate(parts).reshape(n, 28, 28) * 255).astype(np.uint8)


def coloured(n: int) -> Images:
    """Cut pieces of several sizes out of scikit-learn's two photographs, `(n, 32, 32, 3)`."""
    rng, photos = np.random.default_rng(0), load_sample_images().images
    found = np.empty((n, 32, 32, 3), np.uint8)
    for image in found:
        photo, step = photos[rng.integers(len(photos))], int(rng.integers(1, 7))
        top, left = (int(rng.integers(side - 32 * step)) for side in photo.shape[:2])
        image[:] = photo[top : top + 32 * step : step, left : left + 32 * step : step]
    return found


def classes(images: Images) -> NDArray[np.int64]:
    """Let a random linear model answer, `(n,)`."""
    rows = images.reshape(len(images), -1).astype(np.float64)
    weights = np.random.default_rng(0).normal(size=(rows.shape[1], CLASSES))
    scores = (rows - rows.mean(0)) @ weights
    return (scores / scores.std(0)).argmax(1)


def networks(shape: Sequence[int]) -> tuple[NetworkFeaturizer, ...]:
    """Make the networks of the paper's size for images of a shape."""
    torch.manual_seed(0)
    specs = [{"kind": kind, "shape": shape} for kind in NETWORKS]
    return tuple(load(dump(build(spec), spec)) for spec in specs)


def profile(features: Rows) -> Profile:
    """Choose delta and thresholds that accounts like these rarely reach."""
    found, likelihoods = features["embedding"], features["log_likelihood"]
    index = faiss.IndexFlatL2(found.shape[1])
    index.add(found)
    squares = index.search(found, 2)[0][:, 1]
    delta = float(np.sqrt(np.quantile(squares, 0.001)))
    # The mean of fifty queries, the fewest that are judged, lies this low once in 10**9 accounts.
    threshold = float(-likelihoods.mean() + 6 * likelihoods.std() / 50**0.5)
    detectors = (
        DetectorProfile(detector="prada"),
        DetectorProfile(detector="similarity", options={"delta": delta}),
        DetectorProfile(detector="likelihood", threshold=threshold),
    )
    return resolve(Profile(name="bench", detectors=detectors))


class Traffic:
    """Events of accounts that send the same images, each in an order of its own and none twice."""

    def __init__(self, images: Images) -> None:
        """Begin with the first image of each account."""
        rng = np.random.default_rng(0)
        self.images, self.labels = images, classes(images)
        self.orders = [rng.permutation(len(images)) for _ in range(ACCOUNTS)]
        self.sent = [0] * ACCOUNTS

    def event(self, account: int, rows: int, features: Rows | None = None) -> Arrival:
        """Make an account's next event, with the images' features where they are given."""
        first = self.sent[account]
        self.sent[account] += rows
        chosen = self.orders[account][first : first + rows]
        assert len(chosen) == rows
        event = QueryEvent(
            id=f"{account}-{first}",
            account=f"account-{account}",
            model="m",
            time=first,
            inputs=Tensor.from_array(self.images[chosen]),
            labels=self.labels[chosen].tolist(),
        )
        own = features and {name: each[chosen] for name, each in features.items()}
        return Arrival(event, Source("queries", account, first), own)

    def events(self, sizes: Sequence[int], number: int) -> list[Arrival]:
        """Make a micro-batch of events of several accounts; the sizes move on by `number`."""
        turned = [(at + number) % ACCOUNTS for at in range(len(sizes))]
        return [self.event(account, size) for account, size in zip(turned, sizes, strict=True)]
