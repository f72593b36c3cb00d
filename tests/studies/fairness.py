"""What an account that sends without pause costs the others: the delay from query to scores.

    KAFKA_HOME=... python tests/studies/fairness.py [--detectors 3|1] [--broker kafka|embedded]
        [--code FOLDER]...

Fifty accounts send one image (28x28 uint8) each second, all to one partition of one worker with
hardened PRADA (or in five seconds, with three detectors and networks of the paper's size). For
twenty seconds they are alone; then another account, which had sent two events before, sends events
of 4,096 images, faster than they can be scored. Printed is for how long the fifty accounts' scores
were behind their queries, by the records' timestamps, for each `--code` (a folder with the package
`gamekeeper`, such as `build/types` of another checkout) and at last for this one.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.detectors.engine import DetectorProfile, NetworkRef, Profile, resolve
from gamekeeper.detectors.networks import build, dump
from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.scores import decode_scores
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.kafka import Settings, producer
from support import brokers
from support.workers import Record, Worker, all_applied, environ_for, prepare, read, send, wait_for

ACCOUNTS = 50
ROWS = 4096
SECONDS = 20.0
BEFORE = 2
PER_SECOND = {1: 50, 3: 10}
"""Small events of all accounts, by the number of detectors."""
LARGE = {1: 140, 3: 7}
"""Large events in that time, by the number of detectors."""
MINUTES = 30 * 60.0
KINDS = {"embedding": "conv-encoder", "log_likelihood": "vq-vae"}


class Delays(NamedTuple):
    """Seconds from queries to scores."""

    alone: list[float]
    beside: list[float]


def event(account: str, name: str, rows: int, rng: np.random.Generator) -> Record:
    """Make an event of noise: rows that lie far from each other, so that nearly all are kept."""
    made = QueryEvent(
        id=name,
        account=account,
        model="digits",
        time=time.time_ns() // 1000,
        inputs=Tensor.from_array(rng.integers(0, 256, (rows, 28, 28)).astype(np.uint8)),
        labels=rng.integers(0, 10, rows).tolist(),
    )
    return event_key(account), encode_event(made)


def profile(folder: Path, detectors: int) -> Path:
    """Write a profile whose thresholds are out of reach, and its networks."""
    torch.manual_seed(0)
    networks = []
    for feature, kind in list(KINDS.items()) if detectors > 1 else []:
        spec = {"kind": kind, "shape": [28, 28]}
        data = dump(build(spec), spec)
        file = f"{feature}.safetensors"
        (folder / file).write_bytes(data)
        networks.append(NetworkRef(feature=feature, file=file, sha256=sha256(data).hexdigest()))
    chosen = (
        DetectorProfile(detector="prada", threshold=1.0),
        DetectorProfile(detector="similarity", options={"delta": 1e-6}, threshold=1e9),
        DetectorProfile(detector="likelihood", threshold=1e9),
    )[:detectors]
    made = resolve(Profile(name="fairness", detectors=chosen, networks=tuple(networks)))
    (folder / "profile.json").write_bytes(msgspec.json.encode(made))
    return folder / "profile.json"


def play(settings: Settings, large: list[Record], name: str, rate: int) -> None:
    """Let the fifty accounts send for a while, and the large events one by one beside them."""
    rng = np.random.default_rng(len(large))
    begun, coming = time.monotonic(), iter(large)
    due, pause = begun, SECONDS / max(1, len(large))
    with producer(settings) as client:
        for number in itertools.count():
            at = begun + number / rate
            if number >= SECONDS * rate:
                break
            time.sleep(max(0.0, at - time.monotonic()))
            key, value = event(f"account-{number % ACCOUNTS}", f"{name}-{number}", 1, rng)
            client.send(settings.topics.queries, key=key, value=value, partition=0)
            if time.monotonic() >= due:
                due += pause
                with suppress(StopIteration):
                    key, value = next(coming)
                    client.send(settings.topics.queries, key=key, value=value, partition=0)
        client.flush()


def delays(settings: Settings) -> Delays:
    """Read for how long each ordinary event's scores were behind it."""
    sent = {}
    for record in read(settings, settings.topics.queries):
        if record.key != b"large":
            sent[msgspec.msgpack.decode(record.value)["id"]] = record.timestamp
    found = Delays([], [])
    for record in read(settings, settings.topics.scores):
        uid = decode_scores(record.value).event
        if uid in sent:
            kind = found.alone if uid.startswith("alone") else found.beside
            kind.append((record.timestamp - sent[uid]) / 1000)
    return found


def measure(environ: dict[str, str], large: list[Record], rate: int) -> Delays:
    """Run a worker beside both kinds of traffic."""
    settings = prepare(environ)
    with Worker(environ) as worker:
        wait_for(worker.ready, MINUTES)
        rng = np.random.default_rng(1)
        first = [event(f"account-{each}", f"first-{each}", 1, rng) for each in range(ACCOUNTS)]
        send(settings, [*first, *large[:BEFORE]], partition=0)
        wait_for(lambda: all_applied(settings), MINUTES)
        play(settings, [], "alone", rate)
        play(settings, large[BEFORE:], "beside", rate)
        wait_for(lambda: len((found := delays(settings)).beside) >= len(found.alone), MINUTES)
    return delays(settings)


def told(seconds: list[float]) -> Iterator[str]:
    """Tell three quantiles."""
    for share in (0.5, 0.95, 0.99):
        yield f"p{share * 100:.0f} {np.quantile(seconds, share):.3f} s"


def main() -> None:
    """Measure each state of the code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=["kafka", "embedded"], default="kafka")
    parser.add_argument("--detectors", type=int, choices=[1, 3], default=3)
    parser.add_argument("--code", action="append", default=[])
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    count = BEFORE + LARGE[asked.detectors]
    large = [event("large", f"large-{number}", ROWS, rng) for number in range(count)]
    for code in [*asked.code, ""]:
        with brokers.make_broker(asked.broker) as broker, tempfile.TemporaryDirectory() as folder:
            environ = environ_for(broker.address, {}, Path(folder) / "data")
            environ["GAMEKEEPER_PROFILE"] = str(profile(Path(folder), asked.detectors))
            environ["GAMEKEEPER_SCORES"] = "true"
            environ["GAMEKEEPER_LOG_LEVEL"] = "WARNING"
            if code:
                environ["PYTHONPATH"] = code
            found = measure(environ, large, PER_SECOND[asked.detectors])
        print(f"{code or 'this code'}, alone: {', '.join(told(found.alone))}", flush=True)
        print(f"{code or 'this code'}, beside: {', '.join(told(found.beside))}", flush=True)


if __name__ == "__main__":
    main()
