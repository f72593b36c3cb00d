"""The three detectors with their networks: any batching and any restart give the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.engine import (
    Account,
    Arrival,
    DetectorProfile,
    Engine,
    Key,
    Outcome,
    Policy,
    Profile,
    Source,
    resolve,
)
from gamekeeper.detectors.networks import NetworkFeaturizer, build, dump, load
from gamekeeper.detectors.networks.featurizer import CHUNK
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import encode_verdict

EVENTS, ACCOUNTS, DIMENSIONS = 160, 2, 8
SMALL: tuple[dict[str, Any], ...] = (
    {"kind": "conv-encoder", "channels": [4, 8], "hidden": 16, "dimensions": DIMENSIONS},
    {"kind": "vq-vae", "hidden": 8, "residual": 4, "codes": 16, "code": 4},
)
PAPER: tuple[dict[str, Any], ...] = ({"kind": "conv-encoder"}, {"kind": "vq-vae"})
DETECTORS = ("prada", "similarity", "likelihood")


@lru_cache
def files(size: str, shape: tuple[int, ...]) -> list[bytes]:
    """Make the files of networks with random weights."""
    torch.manual_seed(0)
    specs = [{**spec, "shape": shape} for spec in (SMALL if size == "small" else PAPER)]
    return [dump(build(spec), spec) for spec in specs]


def images(n: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw images of which every fourth is another one with one value changed."""
    found = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    for row in range(3, n, 4):
        found[row] = found[rng.integers(row)]
        found[row, 0, 0] ^= 1
    return found


@lru_cache
def traffic(shape: tuple[int, ...], events: int) -> list[Arrival]:
    """Interleave accounts; some rows are one column wider, some events have their own embedding."""
    rng = np.random.default_rng(0)
    arrivals = []
    pool = images(4 * events, shape, rng)
    for offset in range(events):
        n = int(rng.integers(1, CHUNK + 4)) if offset % 5 == 0 else int(rng.integers(1, 3))
        rows, pool = pool[:n], pool[n:]
        if offset % 23 == 0:
            rows = np.concatenate([rows, rows[:, :, :1]], axis=2)
        own = rng.normal(size=(n, DIMENSIONS)) if offset % 19 == 0 else None
        event = QueryEvent(
            id=str(offset),
            account=f"account-{rng.integers(ACCOUNTS)}",
            model="m",
            time=offset * 1000,
            inputs=Tensor.from_array(rows),
            labels=rng.integers(0, 2, n).tolist(),
            embedding=None if own is None else Tensor.from_array(own),
        )
        arrivals.append(Arrival(event, Source("queries", 0, offset)))
    return arrivals


@lru_cache
def networks(size: str, shape: tuple[int, ...]) -> tuple[NetworkFeaturizer, ...]:
    """Load the networks once, as a worker does."""
    return tuple(load(data) for data in files(size, shape))


@lru_cache
def profile(size: str, shape: tuple[int, ...], mode: str) -> Profile:
    """Choose thresholds that each detector passes now and then."""
    plain = [each for each in traffic(shape, EVENTS) if each.event.inputs.shape[1:] == shape]
    rows = np.concatenate([each.event.inputs.array() for each in plain[:20]])
    encode, judge = networks(size, shape)
    found = encode(rows).astype(np.float64)
    distances = np.linalg.norm(found[:, None] - found, axis=2)[np.triu_indices(len(rows), 1)]
    delta = float(np.quantile(distances, 0.02))
    options = {"prada": {}, "similarity": {"delta": delta}, "likelihood": {"warm_up": 10}}
    thresholds = {"prada": 0.02, "similarity": 6.5, "likelihood": -float(judge(rows).mean())}
    return resolve(
        Profile(
            name="loop",
            detectors=tuple(
                DetectorProfile(detector=each, options=options[each], threshold=thresholds[each])
                for each in DETECTORS
            ),
            policy=Policy(mode=mode),
        )
    )


Rows = dict[tuple[Key, str, str], list[Segment]]
"""Live segments of each account, detector and log."""


def store(engine: Engine, rows: Rows) -> dict[Key, bytes]:
    """Take what is new in all accounts, forget what they forgot; give the headers."""
    headers = {}
    for key, account in engine.accounts.items():
        for name, segment in account.drain():
            rows.setdefault((key, name, segment.log), []).append(segment)
        for (name, log), position in account.horizon().items():
            own = rows.get((key, name, log), [])
            rows[key, name, log] = [each for each in own if each.end > position]
        headers[key] = account.header()
    return headers


def restart(engine: Engine, headers: dict[Key, bytes], rows: Rows, data: list[bytes]) -> Engine:
    """Begin again from what is stored, the networks' files included."""
    again = Engine(engine.profile, [load(each) for each in data])
    for key, header in headers.items():
        live = [(name, s) for (its, name, _), own in rows.items() if its == key for s in own]
        again.accounts[key] = Account(engine.profile)
        again.accounts[key].load(header, live)
    return again


def told(engine: Engine, arrivals: Sequence[Arrival]) -> Iterator[bytes]:
    """Give for each event the bytes of its statistics and of its verdicts."""
    for outcome in engine.process(arrivals):
        yield b"".join(outcome.statistics[name].tobytes() for name in DETECTORS)
        yield b"".join(map(encode_verdict, outcome.verdicts))


@lru_cache
def undivided(size: str, shape: tuple[int, ...], mode: str, events: int) -> list[bytes]:
    """Process all events at once."""
    engine = Engine(profile(size, shape, mode), networks(size, shape))
    return list(told(engine, traffic(shape, events)))


@pytest.mark.parametrize("mode", ["latch", "reset"])
@pytest.mark.parametrize("shape", [(8, 8), (9, 11, 3)])
@settings(max_examples=8, deadline=None)
@given(
    cuts=st.lists(st.tuples(st.integers(0, EVENTS), st.booleans()), max_size=25),
    ahead=st.integers(1, EVENTS),
)
def test_batching_and_restarts_change_no_bit(
    shape: tuple[int, ...], mode: str, cuts: list[tuple[int, bool]], ahead: int
) -> None:
    """Networks run over `ahead` events, detectors over others; some cuts are restarts."""
    data, arrivals = files("small", shape), traffic(shape, EVENTS)
    engine, rows, found = (
        Engine(profile("small", shape, mode), networks("small", shape)),
        Rows(),
        [],
    )
    done = [
        each
        for start in range(0, EVENTS, ahead)
        for each in engine.featurized(arrivals[start : start + ahead])
    ]
    stops = dict(sorted([(0, False), *cuts]))
    for (start, again), (stop, _) in pairwise([*stops.items(), (EVENTS, False)]):
        if again:
            engine = restart(engine, store(engine, rows), rows, data)
        # Now the engine runs the networks, now it is given what they made.
        found += told(engine, (arrivals if again else done)[start:stop])
    assert found == undivided("small", shape, mode, EVENTS)


def whole(outcome: Outcome) -> tuple[Any, ...]:
    """Give all that an outcome says, as bytes."""
    arrays = {**outcome.statistics, **(outcome.arrival.features or {})}
    said = {name: (each.dtype, each.tobytes()) for name, each in arrays.items()}
    return outcome.first, said, list(map(encode_verdict, outcome.verdicts))


@lru_cache
def large(shape: tuple[int, ...]) -> list[Arrival]:
    """Make events of 64 rows of one account, among them one with embeddings of its own."""
    rng = np.random.default_rng(1)
    pool = images(64 * 6, shape, rng)
    arrivals = []
    for offset, rows in enumerate(np.split(pool, 6)):
        own = rng.normal(size=(64, DIMENSIONS)) if offset == 3 else None
        event = QueryEvent(
            id=str(offset),
            account="a",
            model="m",
            time=offset * 1000,
            inputs=Tensor.from_array(rows),
            labels=rng.integers(0, 2, 64).tolist(),
            embedding=None if own is None else Tensor.from_array(own),
        )
        arrivals.append(Arrival(event, Source("queries", 0, offset)))
    return arrivals


@pytest.mark.parametrize("mode", ["latch", "reset"])
@pytest.mark.parametrize("rows", [1, 7, 48, 64, 100])
def test_slices_change_no_bit(mode: str, rows: int) -> None:
    """An event scored in slices leads to the same outcome, and so do those after it."""
    shape = (8, 8)
    engine, sliced = (
        Engine(profile("small", shape, mode), networks("small", shape)) for _ in range(2)
    )
    several = False
    for arrival in large(shape):
        [expected] = engine.process([arrival])
        slices = sliced.slices(arrival)
        while slices.left:
            slices.step(rows)
        assert whole(slices.outcome()) == whole(expected)
        several |= len({each.detector for each in expected.verdicts}) > 1
    assert several


def test_slices_close_what_another_profile_opened() -> None:
    """The findings of an earlier profile are closed before the first slice, once."""
    before, after = profile("small", (8, 8), "latch"), profile("small", (8, 8), "reset")
    found = []
    for cut in (False, True):
        engine, [first, second, *_] = Engine(before, networks("small", (8, 8))), large((8, 8))
        engine.process([first])
        assert engine.accounts["a", "m"].open()
        engine.profile = after
        if cut:
            slices = engine.slices(second)
            while slices.left:
                slices.step(10)
            outcome = slices.outcome()
        else:
            [outcome] = engine.process([second])
        assert [each.reason for each in outcome.verdicts].count("profile") >= 1
        found.append(whole(outcome))
    assert found[0] == found[1]


@pytest.mark.parametrize("shape", [(28, 28), (32, 32, 3)])
def test_networks_of_the_papers_size_change_no_bit(shape: tuple[int, ...]) -> None:
    """Events one by one, in pairs and after restarts, with the default widths."""
    events = 24
    data, arrivals = files("paper", shape), traffic(shape, EVENTS)[:events]
    expected = list(
        told(Engine(profile("paper", shape, "latch"), networks("paper", shape)), arrivals)
    )
    for size in (1, 7):
        engine = Engine(profile("paper", shape, "latch"), networks("paper", shape))
        rows, found = Rows(), []
        for start in range(0, events, size):
            found += told(engine, arrivals[start : start + size])
            headers = store(engine, rows)
            if start == size:
                engine = restart(engine, headers, rows, data)
        assert found == expected


@pytest.mark.parametrize("mode", ["latch", "reset"])
@pytest.mark.parametrize("shape", [(8, 8), (9, 11, 3)])
def test_all_detectors_had_something_to_say(shape: tuple[int, ...], mode: str) -> None:
    """Each one is ready, and alarms: the tests above compare something."""
    engine = Engine(profile("small", shape, mode), networks("small", shape))
    outcomes = engine.process(traffic(shape, EVENTS))
    for name in DETECTORS:
        statistics = np.concatenate([outcome.statistics[name] for outcome in outcomes])
        # Where alarms reset, PRADA is hardly ready before it begins anew.
        assert len(np.unique(statistics[~np.isnan(statistics)])) > (5 if mode == "latch" else 1)
    assert {each.detector for o in outcomes for each in o.verdicts} == set(DETECTORS)
