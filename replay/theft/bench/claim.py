"""A bench's folder belongs to one bench: the same data, pool and sizes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gamekeeper.replay.theft.bench.setting import Sizes
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.schemas.errors import SettingsError
from gamekeeper.schemas.files import write_whole


def claim(folder: Path, data: Dataset, pool: Dataset | None, sizes: Sizes) -> None:
    """Note what the folder is of; raises `SettingsError` where it is of something else."""
    path = folder / "bench.json"
    plan = {"data": data.digest(), "pool": pool and pool.digest(), "sizes": sizes}
    text = msgspec.json.format(msgspec.json.encode(plan))
    if path.exists() and path.read_bytes() != text:
        raise SettingsError(
            f"{folder} has a bench of other data, --pool, --seed or --quick: give these, or "
            "another --out"
        )
    write_whole(path, text)
