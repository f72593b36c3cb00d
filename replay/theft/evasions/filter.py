"""Query filtering: the thief runs a detector of his own and leaves out what it would notice."""

from __future__ import annotations

import tempfile
from collections import deque
from pathlib import Path
from typing import Any, Literal

import faiss
import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.networks import NetworkFeaturizer, load
from gamekeeper.replay.theft import (
    AttackOver,
    Floats,
    Images,
    Labels,
    Memo,
    Oracle,
    Reply,
    Request,
    Start,
    digest,
)
from gamekeeper.replay.theft.evasions.base import together
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.replay.tune.training import Size, TrainPlan, train
from gamekeeper.schemas.errors import SettingsError
from gamekeeper.schemas.files import write_whole

RATE = 1e-4
"""The share of natural images that may pair with another: section VIII-A's false-positive rate."""
EPOCHS = 10
PATIENCE = 1000
LEAST = 0.05
_ENCODERS = Memo[NetworkFeaturizer](2)
"""The latest encoders: a bench filters one attack after the other with the same."""


def query_filter(
    oracle: Oracle,
    start: Start,
    rng: np.random.Generator,
    *,
    images: Literal["pool", "seeds"] = "pool",
    size: Size = "small",
    epochs: int = EPOCHS,
    rate: float = RATE,
    patience: int = PATIENCE,
    least: float = LEAST,
    keep: Path | None = None,
) -> Oracle:
    """Send only what makes no similar pair with anything sent before from the same account.

    Zhang and Wagner, section VII-B: a substitute encoder, trained as the detector's is (section
    VI-A) on the thief's `images`, and a substitute delta, the `rate` quantile of their distances
    to the nearest other one. The paper's two rows are its pool (all of a similar data set) and its
    seeds (some of the victim's own). The encoder first learns to classify where images have
    classes: the pool's labels; seeds have none before they are asked about, and go straight to the
    contrast.

    The thief gives up, which raises `AttackOver`, when less than `least` of the latest `patience`
    images were sent: what is left out costs no query, but the work to make it. The paper does not
    say how long the encoder is trained nor when the thief gives up. `keep` is a folder in which
    trained encoders lie ready for other processes. Raises `SettingsError` where there are too few
    images to train on, or nothing can be kept. Probes are always sent.
    """
    own = start.pool if images == "pool" else start.seeds
    labels = start.pool_labels if images == "pool" else None
    encoder = _encoder(own, labels, TrainPlan(("embedding",), size, epochs), rng, keep)
    delta = _delta(encoder(own), rate)
    memories: dict[int, _Memory] = {}
    lately: deque[bool] = deque(maxlen=patience)

    def filtered(request: Request) -> Reply:
        if len(lately) == patience and sum(lately) < least * patience:
            raise AttackOver(
                f"{patience - sum(lately)} of the latest {patience} queries would have made "
                "similar pairs: the attack makes little else any more"
            )
        memory = memories.setdefault(request.account, _Memory(delta))
        taken = [memory.takes(row, always=request.probe) for row in encoder(request.images)]
        lately.extend(taken)
        rows = np.flatnonzero(taken)
        parts = [(rows, oracle(request._replace(images=request.images[rows])))] if len(rows) else []
        return together(len(request.images), parts, start.classes)

    return filtered


class _Memory:
    """The vectors of what an account has sent."""

    def __init__(self, delta: float) -> None:
        self._delta = delta
        self._index: Any = None

    def takes(self, vector: Floats, *, always: bool) -> bool:
        """Remember a vector unless it makes a pair with one before it."""
        if self._index is None:
            self._index = faiss.IndexFlatL2(len(vector))
        row = vector[None]
        if not always and self._index.ntotal:
            squared, _ = self._index.search(row, 1)
            if squared[0, 0] < self._delta**2:
                return False
        self._index.add(row)
        return True


def _encoder(
    images: Images,
    labels: Labels | None,
    plan: TrainPlan,
    rng: np.random.Generator,
    keep: Path | None = None,
) -> NetworkFeaturizer:
    if len(images) < 4:
        raise SettingsError(f"a filter cannot be trained on {len(images)} images: give more")
    classes = np.zeros(len(images), np.int64) if labels is None else labels
    plan = TrainPlan(plan.features, plan.size, plan.epochs, seed=int(rng.integers(2**31)))
    key = digest(images, classes, repr(plan))
    path = keep and keep / f"{key.hex()}.safetensors"
    return _ENCODERS(key, lambda: load(_learned(Dataset(images, classes), plan, path)))


def _learned(data: Dataset, plan: TrainPlan, path: Path | None) -> bytes:
    """Train an encoder, or read what was trained before."""
    if path and path.exists():
        return path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        [network] = train(data, plan, Path(folder)).networks
        weights = Path(folder, network.file).read_bytes()
    if path:
        write_whole(path, weights)
    return weights


def _delta(vectors: Floats, rate: float) -> float:
    """Give the distance below which `rate` of the vectors have another one."""
    index: Any = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    squared: NDArray[np.float32] = index.search(vectors, 2)[0][:, 1]
    return float(np.quantile(np.sqrt(squared), rate))
