"""The contract of `gamekeeper.detectors.base`, tested on every detector in the catalog.

A new detector is tested here as soon as the catalog has it. `SMALL` names options that make it
forget within a few hundred queries; add them for a detector that has bounds.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch, Detector, Segment
from gamekeeper.detectors.catalog import DETECTORS, build
from gamekeeper.schemas.errors import StateError
from support import digits

SMALL: dict[str, dict[str, Any]] = {
    "prada": {"window": 120, "growths": 40},
    "prada-v1": {"growths": 40},
    "similarity": {"history": 60, "reserve": 12, "keep": 2},
    "steps": {"window": 100, "history": 150, "megabytes": 1},
    "spacing": {"window": 60, "history": 150, "megabytes": 1},
}
NEEDED: dict[str, dict[str, Any]] = {
    "similarity": {"delta": 2.0},
    "ood": {"cut": 0.025},
    "spacing": {"usual": "2.38,-0.13,0.21"},
    "novelty": {"habits": "ood,rate;0.02,0;0.005,1;-1,0;0,0;1,0"},
}
"""Options that have no default; 2.0 lies between the attack's steps and the digits' distances, and
0.025 above most digits' roughness; `usual` are the digits' distances,
`habits` their roughness."""
CASES = [
    *(pytest.param(name, {}, id=name) for name in DETECTORS),
    *(pytest.param(name, SMALL[name], id=f"{name}-small") for name in DETECTORS if name in SMALL),
    *(
        pytest.param("prada", {"mode": mode, "distance": distance}, id=f"prada-{mode}-{distance}")
        for mode, distance in (("paper", "l1"), ("paper", "cosine"), ("reference", "linf"))
    ),
    pytest.param("similarity", {"pairs": "all"}, id="similarity-all"),
    pytest.param("similarity", {"window": 50, "history": 80, "reserve": 0}, id="similarity-window"),
    pytest.param("likelihood", {"window": 100, "beta": 0.3}, id="likelihood-window"),
    pytest.param(
        "likelihood", {"tails": "both", "center": -0.02, "beta": 0.3}, id="likelihood-both"
    ),
    pytest.param("ood", {"window": 60, "warm_up": 10}, id="ood-small"),
]
QUERIES = 420
SIGNED = ["int8", "int16", "int32", "int64"]
DTYPES = ["bool", *SIGNED, *(f"u{kind}" for kind in SIGNED), "float16", "float32", "float64"]

each_case = pytest.mark.parametrize(("name", "options"), CASES)
each_detector = pytest.mark.parametrize("name", list(DETECTORS))


def make(name: str, options: dict[str, Any]) -> Detector:
    """Build a detector with what it needs."""
    return build(name, NEEDED.get(name, {}) | options)


def queries(
    first: int, inputs: NDArray[Any], labels: NDArray[np.int64], pace: int = 1_000_000
) -> Batch:
    """Make a batch whose embedding is a fixed random projection, `(n, 32)`, that keeps distances.

    Its log-likelihood is that of smooth rows, whose neighbouring values differ little; rough ones
    are out of distribution. A query comes every `pace` microseconds. What float32 cannot hold
    becomes infinite, as it does where an event's float64 is narrowed.
    """
    rows = inputs.reshape(len(inputs), -1).astype(np.float64)
    projection = np.random.default_rng(0).normal(0, 32**-0.5, (rows.shape[1], 32))
    with np.errstate(all="ignore"):
        embedding = np.nan_to_num(rows @ projection).astype(np.float32)
        roughness = np.square(np.diff(rows, axis=1, prepend=0)).mean(1, keepdims=True)
        rough = roughness.astype(np.float32)
        features = {"embedding": embedding, "log_likelihood": -rough, "ood": rough}
    numbers = first + np.arange(len(inputs))
    # As of a detector that is never ready, and of one that says nothing of every third query.
    known = np.where(numbers[:, None] % 3 == 1, np.nan, np.nan_to_num(roughness))
    statistics = np.column_stack([known, np.full(len(inputs), np.nan)])
    return Batch(
        first=first,
        inputs=inputs,
        labels=labels,
        features=features,
        times=numbers * pace,
        statistics=statistics,
    )


def traffic(seed: int = 0) -> Batch:
    """Digits with repeats, near-repeats and constant steps among them, `(420, 784)`."""
    rng = np.random.default_rng(seed)
    inputs, labels = digits.digits(QUERIES, seed=seed)
    for kind in range(3):
        into, out_of = rng.permutation(np.arange(100, QUERIES))[:30], rng.integers(0, 100, 30)
        change = (0.0, rng.normal(0, 1e-6, 784), 0.1 * rng.choice([-1, 1], 784))[kind]
        inputs[into] = inputs[out_of] + np.float32(change)
        labels[into] = labels[out_of]
    return queries(0, inputs, labels)


class Run:
    """One detector's life: its statistics and evidence, and its state as a store would keep it."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, options
        self.detector: Detector = make(name, options)
        self.statistics: list[float] = []
        self.evidence: list[str] = []
        self.segments: dict[str, list[Segment]] = {}
        self.header = b""

    def feed(self, batch: Batch) -> None:
        """Update, and note what came of it."""
        found = self.detector.update(batch)
        assert found.shape == (len(batch),)
        assert found.dtype == np.float64
        self.statistics += found.tolist()
        self.evidence += [json.dumps(self.detector.evidence(row)) for row in range(len(batch))]

    def save(self) -> None:
        """Store segments, then the header; delete what is forgotten."""
        for segment in self.detector.drain():
            self.segments.setdefault(segment.log, []).append(segment)
        self.header = self.detector.header()
        for log, horizon in self.detector.horizon().items():
            self.segments[log] = [s for s in self.segments.get(log, []) if s.end > horizon]

    def restore(self) -> None:
        """Go on with a fresh detector from what is stored."""
        self.detector = make(self.name, self.options)
        self.detector.load(self.header, [s for log in self.segments.values() for s in log])

    def size(self) -> int:
        """Count the stored bytes."""
        live = sum(len(s.data) for log in self.segments.values() for s in log)
        return live + len(self.header)


def whole(name: str, options: dict[str, Any], batch: Batch) -> Run:
    """Feed a batch at once."""
    run = Run(name, options)
    run.feed(batch)
    return run


def same(one: Run, other: Run) -> bool:
    """Compare statistics and evidence bit for bit."""
    statistics = np.array_equal(one.statistics, other.statistics, equal_nan=True)
    return statistics and one.evidence == other.evidence


cuts = st.lists(st.integers(1, QUERIES - 1), max_size=12).map(lambda at: sorted({0, *at, QUERIES}))
few = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


@each_case
@few
@given(at=cuts, seed=st.integers(0, 2))
def test_batching_and_restoring_change_nothing(
    name: str, options: dict[str, Any], at: list[int], seed: int
) -> None:
    """Any batches, with the detector saved and restored between them, give the same bits."""
    batch = traffic(seed)
    once, cut = whole(name, options, batch), Run(name, options)
    for number, (start, stop) in enumerate(pairwise(at)):
        cut.feed(batch[start:stop])
        if number % 2:
            cut.save()
            cut.restore()
    assert same(once, cut)


@each_case
def test_one_query_at_a_time_changes_nothing(name: str, options: dict[str, Any]) -> None:
    """Batches of one query give the same bits as one batch."""
    batch, single = traffic(), Run(name, options)
    for row in range(QUERIES):
        single.feed(batch[row : row + 1])
    assert same(whole(name, options, batch), single)


@each_case
def test_the_future_changes_nothing(name: str, options: dict[str, Any]) -> None:
    """A statistic depends on its query and earlier ones only."""
    batch = traffic()
    past = whole(name, options, batch[:300])
    assert np.array_equal(
        whole(name, options, batch).statistics[:300], past.statistics, equal_nan=True
    )


@each_case
def test_accounts_share_nothing(name: str, options: dict[str, Any]) -> None:
    """Detectors that take turns give what each gives alone."""
    batches = [traffic(0), traffic(1)]
    turns = [Run(name, options), Run(name, options)]
    for start in range(0, QUERIES, 37):
        for batch, run in zip(batches, turns, strict=True):
            run.feed(batch[start : start + 37])
    assert all(same(whole(name, options, b), run) for b, run in zip(batches, turns, strict=True))


@each_case
def test_inputs_are_neither_changed_nor_kept(name: str, options: dict[str, Any]) -> None:
    """Arrays are as before after an update, and may be overwritten then."""
    batch, run = traffic(), Run(name, options)
    for start in range(0, QUERIES, 60):
        part = batch[start : start + 60]
        assert part.statistics is not None
        given = [part.inputs, part.labels, part.times, part.statistics, *part.features.values()]
        arrays = [array.copy() for array in given]
        inputs, labels, times, statistics, *features = arrays
        named = dict(zip(part.features, features, strict=True))
        run.feed(Batch(start, inputs, labels, features=named, times=times, statistics=statistics))
        for array, before in zip(arrays, given, strict=True):
            assert np.array_equal(array, before, equal_nan=True)
            array.fill(7)
    assert same(whole(name, options, batch), run)


@each_case
def test_state_is_bounded(name: str, options: dict[str, Any]) -> None:
    """What is stored stays below `limit()`, headers below 4 KiB and segments below 256 KiB."""
    batch, run = traffic(), Run(name, options)
    for start in range(0, QUERIES, 30):
        run.feed(batch[start : start + 30])
        run.save()
        assert run.size() <= run.detector.limit()
        assert len(run.header) < 4096
        assert all(len(s.data) < 256 * 1024 for log in run.segments.values() for s in log)
    if options and options == SMALL.get(name):
        assert any(run.detector.horizon().values()), "nothing was forgotten: make SMALL smaller"


@each_case
def test_reset_starts_afresh(name: str, options: dict[str, Any]) -> None:
    """After a reset all is as at the start, and every stored segment is forgotten."""
    batch, run = traffic(), Run(name, options)
    run.feed(batch[:200])
    run.save()
    run.detector.reset()
    run.save()
    assert not any(run.segments.values())
    run.restore()
    rest = batch[200:]
    fresh = whole(name, options, rest)
    run.statistics, run.evidence = [], []
    run.feed(rest)
    assert same(fresh, run)


@each_case
def test_a_querys_index_is_a_name(name: str, options: dict[str, Any]) -> None:
    """Queries between which some were left out are named in evidence by their own indices."""
    batch = traffic()
    if not make(name, options).distinct:
        return
    rows = np.sort(np.random.default_rng(0).permutation(QUERIES)[:300])
    apart, together = batch[rows], queries(0, batch.inputs[rows], batch.labels[rows])
    found, expected = whole(name, options, apart), whole(name, options, together)
    assert np.array_equal(found.statistics, expected.statistics, equal_nan=True)
    assert renamed(json.loads(found.evidence[-1]), rows) == json.loads(expected.evidence[-1])


def renamed(evidence: Any, rows: NDArray[np.intp]) -> Any:
    """Turn indices of queries into their places among those that were not left out."""
    if isinstance(evidence, list):
        return [renamed(each, rows) for each in evidence]
    if not isinstance(evidence, dict):
        return evidence
    return {
        name: int(np.searchsorted(rows, value))
        if name in ("query", "earlier")
        else renamed(value, rows)
        for name, value in evidence.items()
    }


@each_case
def test_evidence_is_told_in_one_sentence(name: str, options: dict[str, Any]) -> None:
    """Of each query after which there is a statistic, as it comes back from JSON."""
    run = whole(name, options, traffic())
    for statistic, evidence in zip(run.statistics, run.evidence, strict=True):
        if not np.isnan(statistic):
            told = run.detector.tell(json.loads(evidence))
            assert 20 < len(told) < 250
            assert "\n" not in told
            assert told[-1] not in ".,;"


@each_detector
def test_foreign_state_is_refused(name: str) -> None:
    """A damaged header and missing segments raise `StateError`, never anything else."""
    run = whole(name, {}, traffic())
    run.save()
    for header in (b"", run.header[:-3], b"\x93\x01\x02\x03", run.header[:1] + b"\x63"):
        with pytest.raises(StateError):
            make(name, {}).load(header, [])
    if any(run.segments.values()):
        with pytest.raises(StateError):
            make(name, {}).load(run.header, [])


@each_detector
def test_state_of_another_codec_is_named_so_whatever_its_fields(name: str) -> None:
    """A header of more fields, written under the next codec, is called that and not damaged."""
    run = whole(name, {}, traffic())
    run.save()
    codec, *rest = msgspec.msgpack.decode(run.header)
    later = msgspec.msgpack.encode([codec + 1, *rest, 0])
    with pytest.raises(StateError, match=f"codec {codec + 1} .* start the account afresh"):
        make(name, {}).load(later, [])


@each_detector
def test_attacks_rank_above_benign(name: str) -> None:
    """Jacobian-based augmentation of 100 digits, sent at twice the pace, is above ten benign."""
    benign = [
        np.nanmax(make(name, {}).update(queries(0, *digits.digits(800, seed=seed))))
        for seed in range(10)
    ]
    attack = make(name, {}).update(queries(0, *digits.augmented(800, seed=3), pace=500_000))
    assert np.nanmax(attack) > max(benign)


def extremes(dtype: str, columns: int, rng: np.random.Generator) -> list[NDArray[Any]]:
    """Make `(150, columns)` arrays of what a type can hold at worst."""
    kind, n = np.dtype(dtype), 150
    if kind.kind == "f":
        info = np.finfo(kind)
        ends = [info.max, -info.max, info.tiny, info.smallest_subnormal, 0.0]
    elif kind.kind == "b":
        ends = [False, True]
    else:
        ends = [np.iinfo(kind).min, np.iinfo(kind).max, 0, 1]
    values = np.array(ends, kind)
    constants = [np.full((n, columns), value, kind) for value in values]
    mixed = values[rng.integers(0, len(values), (n, columns))]
    noise = rng.integers(0, 2, (n, columns)).astype(kind)
    steps = (np.arange(n) % 100)[:, None].astype(kind) + np.zeros(columns, kind)
    outlier = noise.copy()
    outlier[60] = values.max()
    return [*constants, mixed, noise, steps, outlier]


@each_case
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_data_raises(name: str, options: dict[str, Any], dtype: str) -> None:
    """Statistics of extreme data of every type are finite or NaN, and evidence is JSON."""
    rng = np.random.default_rng(0)
    for columns in (1, 9):
        for inputs in extremes(dtype, columns, rng):
            labels = rng.integers(0, 2, len(inputs))
            run = Run(name, options)
            for start in range(0, len(inputs), 50):
                part = slice(start, start + 50)
                run.feed(queries(start, inputs[part], labels[part]))
                run.save()
                run.restore()
            assert not np.isinf(run.statistics).any()
            assert "Infinity" not in "".join(run.evidence)
            assert "NaN" not in "".join(run.evidence)


@each_detector
def test_a_change_of_shape_or_type_does_not_raise(name: str) -> None:
    """Rows of several shapes and types in one account are scored."""
    rng, run = np.random.default_rng(0), Run(name, {})
    for first, (shape, dtype) in enumerate(
        [((4, 4), "float32"), ((5,), "uint8"), ((4, 4), "float64"), ((), "int64"), ((16,), "bool")]
        * 20
    ):
        inputs = rng.integers(0, 2, (10, *shape)).astype(dtype)
        run.feed(queries(10 * first, inputs, rng.integers(0, 2, 10)))
        run.save()
        run.restore()
    assert not np.isinf(run.statistics).any()


@each_detector
def test_no_queries_no_statistics(name: str) -> None:
    """An empty batch is taken."""
    assert len(make(name, {}).update(traffic()[:0])) == 0
