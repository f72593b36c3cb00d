"""The worker with networks in the loop: what it says live is what a replay says, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gamekeeper.detectors.engine import Arrival, Engine, Source
from gamekeeper.detectors.networks import build, dump
from gamekeeper.schemas.event import QueryEvent, decode_event, encode_event, event_key
from gamekeeper.schemas.scores import decode_scores, encode_scores
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import decode_verdict, encode_verdict
from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.profile_files import load_networks, load_profile
from support.brokers import Broker, Names
from support.workers import Record, Worker, all_applied, environ_for, prepare, read, send, wait_for

pytestmark = pytest.mark.broker

SPECS: tuple[dict[str, Any], ...] = (
    {"kind": "conv-encoder", "shape": [8, 8], "channels": [4, 8], "hidden": 16, "dimensions": 8},
    {"kind": "vq-vae", "shape": [8, 8], "hidden": 8, "residual": 4, "codes": 16, "code": 4},
)
EVENTS = 400


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A profile of three detectors with untrained networks; all of them alarm now and then."""
    networks = []
    for seed, spec in enumerate(SPECS):
        torch.manual_seed(seed)
        feature = ("embedding", "log_likelihood")[seed]
        data = dump(build(spec), spec)
        (tmp_path / f"{feature}.safetensors").write_bytes(data)
        file, digest = f"{feature}.safetensors", sha256(data).hexdigest()
        networks.append({"feature": feature, "file": file, "sha256": digest})
    detectors = [
        {"detector": "prada", "threshold": 0.0},
        {"detector": "similarity", "options": {"delta": 0.02}, "threshold": 20.5},
        {"detector": "likelihood", "threshold": 0.0},
    ]
    path = tmp_path / "profile.json"
    path.write_text(
        json.dumps(
            {
                "name": "networks",
                "detectors": detectors,
                "networks": networks,
                "policy": {"mode": "reset"},
            }
        )
    )
    return path


def images() -> list[Record]:
    """Make requests of 1 to 5 images of 8x8, every 50th of 8x9, from three accounts."""
    rng = np.random.default_rng(0)
    records: list[Record] = []
    for number in range(EVENTS):
        account, rows = f"account-{rng.integers(3)}", int(rng.integers(1, 6))
        width = 8 if number % 50 else 9
        event = QueryEvent(
            id=str(number),
            account=account,
            model="digits",
            time=number,
            inputs=Tensor.from_array(rng.integers(0, 256, (rows, 8, width), dtype=np.uint8)),
            labels=rng.integers(0, 3, rows).tolist(),
        )
        records.append((event_key(account), encode_event(event)))
    return records


def offline(settings: Settings, profile: Path, step: int) -> tuple[dict[str, bytes], set[bytes]]:
    """Replay the topic `step` events at a time: verdicts by id, and the scores."""
    loaded = load_profile(profile)
    engine = Engine(loaded, load_networks(loaded, profile.parent))
    arrivals = [
        Arrival(decode_event(each.value), Source(each.topic, each.partition, each.offset))
        for each in read(settings, settings.topics.queries)
    ]
    verdicts, scores = {}, set()
    for start in range(0, len(arrivals), step):
        for outcome in engine.process(arrivals[start : start + step]):
            verdicts |= {each.id: encode_verdict(each) for each in outcome.verdicts}
            event = outcome.arrival.event
            assert isinstance(event, QueryEvent)
            scores.add(encode_scores(event, outcome.first, outcome.statistics))
    return verdicts, scores


def test_live_restarted_and_replayed_are_the_same_bytes(
    broker: Broker, names: Names, tmp_path: Path, profile: Path
) -> None:
    """What a killed worker wrote equals replays in other batches; odd shapes are counted."""
    environ: Mapping[str, str] = {
        **environ_for(broker.address, names.environ, tmp_path / "data"),
        "GAMEKEEPER_PROFILE": str(profile),
        "GAMEKEEPER_SCORES": "true",
    }
    settings = prepare(environ)
    records = images()
    with Worker(environ) as worker:
        send(settings, records[: EVENTS // 2])
        wait_for(lambda: worker.metric("gamekeeper_events_total", outcome="applied") > 0)
        worker.kill()
        send(settings, records[EVENTS // 2 :])
        worker.start()
        wait_for(lambda: all_applied(settings))
        blind = worker.metric("gamekeeper_events_without_features_total", feature="embedding")
        assert EVENTS / 2 / 50 <= blind <= EVENTS / 50
        assert worker.terminate() == 0
    verdicts, scores = offline(settings, profile, step=1)
    assert offline(settings, profile, step=150) == (verdicts, scores)
    alarmed = {decode_verdict(each).detector for each in verdicts.values()}
    assert alarmed == {"prada", "similarity", "likelihood"}
    live = read(settings, settings.topics.verdicts)
    assert {decode_verdict(each.value).id: each.value for each in live} == verdicts
    told = {each.value for each in read(settings, settings.topics.scores)}
    assert all(decode_scores(each) for each in told)
    assert told == scores
