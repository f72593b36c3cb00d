"""Image sets cut into parts that training, calibration and measurement do not share."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from gamekeeper.replay.theft import Answers

Images = NDArray[np.uint8]
SIDES = ("calibration", "test")
EPOCHS = 8
NOISE = 6000
"""Images of uniform noise on each side; an account sends 2,000 of them."""


class Part(NamedTuple):
    """Images that accounts draw from, `(n, h, w)` or `(n, h, w, c)`; `order` groups sequences."""

    images: Images
    order: NDArray[np.int64] | None = None


class ImageSet(NamedTuple):
    """One data set: what trains, and each population's images for calibration and for the test."""

    train: Images
    labels: NDArray[np.int64]
    populations: dict[str, dict[str, Part]]


def read(path: Path, columns: tuple[str, ...] = ()) -> tuple[Images, dict[str, NDArray[Any]]]:
    """Read a Parquet file of encoded images; every column besides `image` as an array."""
    table = pq.read_table(path)
    images = [np.asarray(Image.open(io.BytesIO(each))) for each in table["image"].to_pylist()]
    return np.stack(images), {
        name: table[name].to_numpy() for name in ("label", *columns) if name in table.column_names
    }


def load(name: str, data: Path, rng: np.random.Generator) -> ImageSet:
    """Load one of the sets below."""
    return SETS[name](data, rng)


def _halves(images: Images) -> dict[str, Part]:
    middle = len(images) // 2
    return {side: Part(half) for side, half in zip(SIDES, np.split(images, [middle]), strict=True)}


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Part]:
    return _halves(rng.integers(0, 256, (2 * NOISE, *shape), dtype=np.uint8))


def _uci(rng: np.random.Generator) -> dict[str, Part]:
    """Scale scikit-learn's 8x8 digits up to 20x20 in the middle of 28x28."""
    digits = (load_digits().images * (255 / 16)).astype(np.uint8)
    large = np.zeros((len(digits), 28, 28), np.uint8)
    for target, digit in zip(large, rng.permutation(digits), strict=True):
        scaled = Image.fromarray(digit).resize((20, 20), Image.Resampling.BICUBIC)
        target[4:24, 4:24] = np.asarray(scaled)
    return _halves(large)


def _plain(
    file: str, train: int, others: Callable[[Path, np.random.Generator], dict[str, dict[str, Part]]]
) -> Callable[[Path, np.random.Generator], ImageSet]:
    def build(data: Path, rng: np.random.Generator) -> ImageSet:
        images, columns = read(data / file)
        order = rng.permutation(len(images))
        images, labels = images[order], columns["label"][order].astype(np.int64)
        return ImageSet(
            images[:train],
            labels[:train],
            {"own": _halves(images[train:]), **others(data, rng)}
            | {"uniform noise": _noise(images.shape[1:], rng)},
        )

    return build


def _gtsrb(data: Path, rng: np.random.Generator) -> ImageSet:
    """Split by track: images of one physical sign never lie on two sides."""
    images, columns = read(data / "gtsrb_train.parquet", ("track", "frame"))
    track, frame = columns["track"], columns["frame"]
    tracks = rng.permutation(np.unique(track))
    train, *sides = np.split(tracks, [len(tracks) * 3 // 10, len(tracks) * 65 // 100])
    own, sequences = {}, {}
    for side, chosen in zip(SIDES, sides, strict=True):
        rows = np.flatnonzero(np.isin(track, chosen))
        rows = rows[np.lexsort((frame[rows], track[rows]))]
        own[side] = Part(images[rows])
        sequences[side] = Part(images[rows], track[rows])
    first = np.isin(track, train)
    cifar = read(data / "cifar10_train.parquet")[0]
    return ImageSet(
        images[first],
        columns["label"][first].astype(np.int64),
        {
            "own": own,
            "frame sequences": sequences,
            "unrelated: CIFAR-10": _halves(cifar[:16_000]),
            "uniform noise": _noise(images.shape[1:], rng),
        },
    )


def _other(title: str, file: str) -> Callable[[Path, np.random.Generator], dict[str, Any]]:
    return lambda data, _: {f"unrelated: {title}": _halves(read(data / file)[0][:16_000])}


def _around_mnist(data: Path, rng: np.random.Generator) -> dict[str, dict[str, Part]]:
    fashion = _other("Fashion-MNIST", "fashion_mnist_train.parquet")(data, rng)
    return {"similar: UCI digits": _uci(rng), **fashion}


SETS: dict[str, Callable[[Path, np.random.Generator], ImageSet]] = {
    "mnist": _plain("mnist_10k.parquet", 4000, _around_mnist),
    "fashion": _plain("fashion_mnist_train.parquet", 4000, _other("MNIST", "mnist_10k.parquet")),
    "gtsrb": _gtsrb,
    "cifar10": _plain("cifar10_train.parquet", 4000, _other("GTSRB", "gtsrb_train.parquet")),
}


def draw(part: Part, queries: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw one account's images, none of them twice; sequences in their order, whole tracks."""
    if part.order is None:
        return rng.choice(len(part.images), queries, replace=False)
    tracks = rng.permutation(np.unique(part.order))
    rows = np.concatenate([np.flatnonzero(part.order == each) for each in tracks[: queries // 8]])
    return rows[:queries]


class Victim:
    """The protected model: paper 002's MNIST network, with as many channels as there are."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        """Build it for `(h, w)` or `(h, w, c)` rows; seeded."""
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(shape[2] if len(shape) == 3 else 1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (shape[0] // 4) * (shape[1] // 4), 200),
            nn.ReLU(),
            nn.Linear(200, classes),
        )

    @staticmethod
    def _pixels(images: Images) -> torch.Tensor:
        pixels = torch.from_numpy(images).float() / 255
        return pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)

    def fit(self, images: Images, labels: NDArray[np.int64], epochs: int) -> None:
        """Train with Adam."""
        adam, loss = torch.optim.Adam(self.net.parameters(), 1e-3), nn.CrossEntropyLoss()
        target = torch.from_numpy(labels)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(64):
                adam.zero_grad()
                loss(self.net(self._pixels(images[rows.numpy()])), target[rows]).backward()
                adam.step()

    def answers(self, images: Images) -> Answers:
        """Answer as the attacks want it."""
        with torch.no_grad():
            parts = [
                self.net(self._pixels(each)) for each in np.array_split(images, _parts(images))
            ]
        probabilities = torch.softmax(torch.cat(parts), 1).numpy()
        return Answers(probabilities.argmax(1).astype(np.int64), probabilities)

    def __call__(self, images: Images) -> NDArray[np.int64]:
        """Classify."""
        return self.answers(images).labels


def _parts(images: Images) -> int:
    return 1 + len(images) // 512


def victim_for(images: ImageSet) -> Victim:
    """Train the protected model on what trains the networks, too."""
    victim = Victim(images.train.shape[1:], int(images.labels.max()) + 1)
    victim.fit(images.train, images.labels, EPOCHS)
    return victim
