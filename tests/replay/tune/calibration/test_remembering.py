"""Networks run once for each different input: the same bits, and bounded memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from gamekeeper.detectors.engine import Profile
from gamekeeper.detectors.networks import NetworkFeaturizer, build, dump, load
from gamekeeper.replay.traces import open_trace
from gamekeeper.replay.tune.calibration import start
from gamekeeper.replay.tune.calibration.fitting import fit
from gamekeeper.replay.tune.calibration.maxima import Maxima, measure
from gamekeeper.replay.tune.calibration.remembering import ENTRY_BYTES, Remembering
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables import QUERIES, many_query_rows, write_parquet
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.profile_files import load_networks
from support.traces import START

SPEC: dict[str, Any] = {
    "kind": "conv-encoder",
    "shape": [8, 8],
    "channels": [4],
    "hidden": 16,
    "dimensions": 8,
}
ACCOUNTS, LIFE, IMAGES = 6, 80, 120


@pytest.fixture
def network() -> NetworkFeaturizer:
    """An untrained encoder of 8x8 images."""
    torch.manual_seed(0)
    return load(dump(build(SPEC), SPEC))


class Counting:
    """A featurizer that says how many rows it was given."""

    def __init__(self, featurizer: NetworkFeaturizer) -> None:
        """Begin at 0."""
        self.name, self.sha256 = featurizer.name, featurizer.sha256
        self.rows = 0
        self._featurizer = featurizer

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Accept what the network does."""
        return self._featurizer.accepts(shape)

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Count, and ask the network."""
        self.rows += len(inputs)
        return self._featurizer(inputs)


@pytest.mark.parametrize("kept", [0, 3, 50, 10_000])
def test_features_are_those_of_the_network_bit_for_bit(
    kept: int, network: NetworkFeaturizer
) -> None:
    """Whatever was remembered, forgotten or repeated before; also of other types and of no rows."""
    rng = np.random.default_rng(kept)
    images = rng.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    remembering = Remembering(network, kept * (8 * 4 + ENTRY_BYTES))
    for size in (1, 5, 64, 7, 200, 0):
        drawn = images[rng.integers(0, len(images), size)]
        for batch in (drawn, drawn.astype(np.float32), drawn[:, ::-1]):
            assert np.array_equal(remembering(batch), network(batch))


def test_an_input_is_computed_once(network: NetworkFeaturizer) -> None:
    """Also where a batch holds it twice; what is forgotten is computed again."""
    images = np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8)
    counting = Counting(network)
    remembering = Remembering(counting)
    for _ in range(3):
        remembering(np.concatenate([images, images]))
    assert counting.rows == 10
    small = Remembering(counting, 4 * (8 * 4 + ENTRY_BYTES))
    small(images[:5])
    small(images[1:5])
    assert counting.rows == 15
    small(images[:1])
    assert counting.rows == 16


def shared_images(path: Path) -> Path:
    """Write accounts that draw from one collection as a trace."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 8, 8), dtype=np.uint8)
    batches = []
    for number in range(ACCOUNTS):
        own = images[rng.permutation(IMAGES)[:LIFE]]
        event = QueryEvent(
            id=str(number),
            account=f"account-{number}",
            model="digits",
            time=START,
            inputs=Tensor.from_array(own),
            labels=[0] * LIFE,
        )
        batches.append(many_query_rows([event], [0], trace="plain", kind="benign"))
    write_parquet(pa.Table.from_batches(batches, schema=QUERIES), path)
    return path


def test_a_calibration_is_the_same_without_remembering_and_for_any_jobs(
    network: NetworkFeaturizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fitted options and maxima, to the last bit."""
    torch.manual_seed(0)
    (tmp_path / "embedding.safetensors").write_bytes(dump(build(SPEC), SPEC))
    begun = start(tmp_path / "out.json", networks=tmp_path, detectors=("similarity",))

    def found(jobs: int) -> tuple[Profile, list[Maxima]]:
        with open_trace([shared_images(tmp_path / "trace.parquet")]) as store:
            made = fit(
                begun.profile, begun.fitted, store, store.lives, LIFE, networks=tmp_path, jobs=jobs
            )
            return made, measure(store, store.lives, made, LIFE, networks=tmp_path, jobs=jobs)

    remembered = found(1)
    assert found(2) == remembered
    for module in ("fitting", "maxima"):
        monkeypatch.setattr(
            f"gamekeeper.replay.tune.calibration.{module}.remembering_networks", load_networks
        )
    assert found(1) == remembered
