"""A made trace whose accounts alarm often, played to workers that are killed at random moments."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.tensor import Tensor
from support.stage import Outcome, Stage
from support.strikes import play, workers_killed
from support.workers import Record

QUERIES = 2000
QUERIES_PER_ACCOUNT = 300
# Every account alarms whenever it can, about every 100 queries, and each alarm shows what the
# detector had remembered.
PROFILE = {
    "name": "crash",
    "detectors": [
        {"detector": "prada", "threshold": 0.0},
        {"detector": "prada-v1", "threshold": 0.2},
    ],
    "policy": {"mode": "reset"},
}


def make_trace(queries: int, seed: int = 0) -> list[Record]:
    """Make events of one to three rows, `queries` rows in all."""
    rng = np.random.default_rng(seed)
    records: list[Record] = []
    rows = 0
    while rows < queries:
        size = min(int(rng.integers(1, 4)), queries - rows)
        account = f"account-{rng.integers(max(1, queries // QUERIES_PER_ACCOUNT))}"
        event = QueryEvent(
            id=str(len(records)),
            account=account,
            model="digits",
            time=len(records) * 1000,
            inputs=Tensor.from_array(rng.gamma(0.5, size=(size, 16)).astype(np.float32)),
            labels=rng.integers(0, 3, size).tolist(),
        )
        records.append((event_key(account), encode_event(event)))
        rows += size
    return records


def prepared(address: str, folder: Path, **options: Any) -> Stage:
    """Prepare a stage with the profile that alarms often; `options` are the stage's."""
    profile = folder / "profile.json"
    profile.write_text(json.dumps(PROFILE))
    return Stage(address, folder, profile, **options)


def run(address: str, *, kills: int, workers: int, seed: int, store: str) -> Outcome:
    """Play 2,000 queries to workers that are killed `kills` times, and compare."""
    trace = make_trace(QUERIES, seed)
    with (
        tempfile.TemporaryDirectory(prefix="gamekeeper-crash-") as folder,
        prepared(address, Path(folder), workers=workers, GAMEKEEPER_STORE=store) as stage,
    ):
        play(stage, trace, [workers_killed] * kills, random.Random(seed))
        return stage.compare()
