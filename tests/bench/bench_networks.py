"""Three detectors with their networks through the engine, beside the bare forward passes; one core.

`python tests/bench/bench_networks.py [QUERIES]` takes two minutes of CPU time. The networks are of
the paper's size (the specs' defaults) with random weights: they cost what trained ones do. 32
accounts have sent QUERIES (2,048) images each, of uint8, none twice, before the first measurement;
delta and thresholds are such that few alarm. Printed are medians of CPU microseconds per query, so
that other work on the machine counts little, of programs that take turns on the same rows:

* whole: `module.features` of both modules on all rows of a micro-batch at once, already prepared;
* by 64: the same on 64 rows at once, the quickest size of those tried;
* by 8: the same on as many rows at once as the featurizers take;
* engine: `Engine.process`, from events to outcomes, and how much of it each part takes. What is not
  theirs is stacking, judging and making outcomes.

The shares are medians over the rounds. Then the state of an account after 10,000 queries: live in
memory (tracemalloc's count and FAISS's vectors), and stored (keys and values of the rows that
`stream.store` has written and not deleted).
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import gc
import sys
import time
import tracemalloc
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))

import faiss
import msgspec
import numpy as np
import torch
from network_traffic import ACCOUNTS, Images, Rows, Traffic, coloured, grey, networks, profile

from gamekeeper.detectors.base import Detector
from gamekeeper.detectors.engine import Arrival, Engine, Outcome, Profile, Source
from gamekeeper.detectors.networks import NetworkFeaturizer, prepare
from gamekeeper.detectors.networks.featurizer import CHUNK
from gamekeeper.detectors.similarity import Similarity
from gamekeeper.stream.worker.account_rows import Entry
from gamekeeper.stream.worker.changelog import Tenure
from support.coefficients import forget_coefficients

SENT = 2048
ROUNDS = 5
LIFE = 10_000
BLOCK = 64
BASES = ("whole", f"by {BLOCK}", f"by {CHUNK}")
BATCHES = {
    "16 of 1, 16 of 32 rows": [1, 32] * (ACCOUNTS // 2),
    "32 events of 1 row": [1] * ACCOUNTS,
    "1 event of 1 row": [1],
}
DETECTORS = ("prada", "similarity", "likelihood")
PARTS = ("networks", *DETECTORS, "rest")


def timed(step: Callable[[], Any]) -> tuple[float, Any]:
    """Give the CPU microseconds that a step took, and what it gave."""
    start = time.process_time()
    result = step()
    return (time.process_time() - start) * 1e6, result


class Watched:
    """An engine that counts the CPU microseconds of its networks and its detectors."""

    def __init__(self, engine: Engine) -> None:
        """Watch an engine whose accounts are all there."""
        self.engine = engine
        self.spent: Counter[str] = Counter()
        for account in engine.accounts.values():
            for name, detector in account.detectors.items():
                detector.update = self._watch(name, detector.update)  # type: ignore[method-assign]

    def _watch(self, name: str, update: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*given: Any) -> Any:
            spent, found = timed(lambda: update(*given))
            self.spent[name] += spent
            return found

        return watched

    def process(self, arrivals: list[Arrival]) -> list[Outcome]:
        """Process as the engine does: it takes arrivals that have their features as they are."""
        self.spent.clear()
        self.spent["networks"], arrivals = timed(lambda: self.engine.featurized(arrivals))
        return self.engine.process(arrivals)


def forward(found: Sequence[NetworkFeaturizer], inputs: list[torch.Tensor], size: int) -> None:
    """Run the bare modules over prepared rows, so many at once."""
    with torch.inference_mode():
        for each, rows in zip(found, inputs, strict=True):
            for part in rows.split(size):
                each._module.features(part)


def compare(
    watched: Watched, arrivals: list[Arrival], turn: int
) -> tuple[dict[str, float], list[Outcome]]:
    """Time the programs on a micro-batch, in turns: CPU microseconds by name, and the outcomes."""
    found = watched.engine.featurizers
    rows = np.concatenate([each.event.inputs.array() for each in arrivals])
    inputs = [prepare(rows, each.spec) for each in found]
    steps: dict[str, Callable[[], Any]] = {
        base: lambda size=size: forward(found, inputs, size)
        for base, size in zip(BASES, (len(rows), BLOCK, CHUNK), strict=True)
    }
    steps["engine"] = lambda: watched.process(arrivals)
    names = deque(steps)
    names.rotate(turn)
    results = {name: timed(steps[name]) for name in names}
    spent = {name: each for name, (each, _) in results.items()} | watched.spent
    spent["rest"] = spent["engine"] - watched.spent.total()
    return {name: each / len(rows) for name, each in spent.items()}, results["engine"][1]


def throughput(images: Images, sent: int) -> None:
    """Fill the accounts, then print the table of rates for images of one shape."""
    found = networks(images.shape[1:])
    features = {each.name: each(images) for each in found}
    engine, traffic = Engine(profile(features), found), Traffic(images)
    for _ in range(0, sent, 32):
        engine.process([traffic.event(account, 32, features) for account in range(ACCOUNTS)])
    watched = Watched(engine)
    print(f"{'':24}" + "".join(f"{name:>8}" for name in (*BASES, "engine")), end="")
    print("".join(f"{'/ ' + name:>9}" for name in BASES), end="  |")
    print("".join(f"{name:>11}" for name in PARTS))
    verdicts = 0
    for name, sizes in BATCHES.items():
        rounds = []
        for number in range(ROUNDS + 1):
            spent, outcomes = compare(watched, traffic.events(sizes, number), number)
            rounds += [spent] if number else []  # the first one warms up
            verdicts += sum(len(outcome.verdicts) for outcome in outcomes)
        print(f"{name:24}" + row(rounds), flush=True)
    print(fullness(engine) + f"; {verdicts} verdicts meanwhile\n", flush=True)


def row(rounds: list[dict[str, float]]) -> str:
    """Lay out medians over the rounds: times, the shares of the bare passes, and the parts."""
    columns = {name: np.array([each[name] for each in rounds]) for name in rounds[0]}
    middle = {name: float(np.median(each)) for name, each in columns.items()}
    shares = [float(np.median(columns[base] / columns["engine"])) for base in BASES]
    times = "".join(f"{middle[name]:8.0f}" for name in (*BASES, "engine"))
    parts = "".join(f"{middle[name]:11.1f}" for name in PARTS)
    return times + "".join(f"{share:9.0%}" for share in shares) + "  |" + parts


def fullness(engine: Engine) -> str:
    """Say how much there is to compare with, and how many alarm."""
    accounts = engine.accounts.values()
    members = np.mean([each.detectors["prada"].evidence(0)["growing_set"] for each in accounts])
    kept = np.mean([each.detectors["similarity"].evidence(0)["remembered"] for each in accounts])
    findings = Counter(
        name
        for each in accounts
        for name, standing in each.standings.items()
        if standing.finding is not None
    )
    return (
        f"an account has a growing set of {members:,.0f} and {kept:,.0f} vectors on average; "
        f"findings open: {dict(findings) or 'none'}"
    )


def state(images: Images) -> None:
    """Print an account's bytes of state after as many queries as there are images."""
    rng = np.random.default_rng(0)
    # What an embedding is changes nothing: all are kept, and all of them are as long.
    features = {
        "embedding": rng.normal(size=(len(images), 256)).astype(np.float32),
        "log_likelihood": rng.normal(size=(len(images), 1)).astype(np.float32),
    }
    whole = profile({name: each[:1000] for name, each in features.items()})
    sizes = [
        measure(msgspec.structs.replace(whole, detectors=(each,)), Traffic(images), features)
        for each in whole.detectors
    ]
    print(f"{'':24}" + "".join(f"{name:>14}" for name in (*DETECTORS, "together")))
    for name, found in zip(("live", "stored"), zip(*sizes, strict=True), strict=True):
        numbers = "".join(f"{each:14,.0f}" for each in (*found, sum(found)))
        print(f"{name + ', bytes':24}{numbers}", flush=True)
    print()


def measure(single: Profile, traffic: Traffic, features: Rows) -> tuple[int, int]:
    """Send an account all images, in events of 1 and 32 rows by turns: its bytes live and stored.

    Each event is a micro-batch of its own: smaller rows, so more bytes of keys, than in practice.
    """
    tracemalloc.start()
    engine = Engine(single)
    entry = Entry(("account-0", "m"), single, Source("queries", 0, 0), Tenure(1, 0))
    engine.accounts[entry.key] = entry.account
    stored: dict[bytes, int] = {}
    while rest := len(traffic.images) - traffic.sent[0]:
        arrival = traffic.event(0, min(rest, 32 if traffic.sent[0] % 33 else 1), features)
        engine.process([arrival])
        for each in entry.rows():
            stored[each.key] = 0 if each.value is None else len(each.key) + len(each.value)
    total = sum(stored.values())
    stored.clear()
    forget_coefficients()  # shared by all accounts
    gc.collect()
    traced, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return traced + hidden(*entry.account.detectors.values()), total


def hidden(detector: Detector) -> int:
    """Count the bytes of vectors that FAISS holds, which tracemalloc does not see."""
    if not isinstance(detector, Similarity):
        return 0
    indexes = detector._history._indexes.values()
    return sum(int(each._index.codes.size()) for each in indexes)


def main() -> None:
    """Print the tables."""
    sent = int(sys.argv[1]) if len(sys.argv) > 1 else SENT
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    for make in (grey, coloured):
        images = make(sent + 32 * (ROUNDS + 1) * len(BATCHES))
        print(
            f"uint8 {images.shape[1:]}, {ACCOUNTS} accounts that sent {sent:,} queries; us/query;"
        )
        print(
            f"the machine's load is {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True
        )
        throughput(images, sent)
        print(f"one account after {LIFE:,} queries of uint8 {images.shape[1:]}")
        state(make(LIFE))


if __name__ == "__main__":
    main()
