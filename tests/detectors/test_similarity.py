"""Pairs are those that the obvious loop finds, with any traffic, in any batches."""

from __future__ import annotations

import json
from hashlib import blake2b
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gamekeeper.detectors.base import Batch, Segment
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.engine import (
    Arrival,
    DetectorProfile,
    Engine,
    Policy,
    Profile,
    Source,
    Standing,
    resolve,
)
from gamekeeper.detectors.engine.policy import judge
from gamekeeper.detectors.similarity import Similarity
from gamekeeper.schemas.errors import ProfileError, StateError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tensor import Tensor

Vectors = NDArray[np.float32]
RULES = ["nearest", "all"]
each_rule = pytest.mark.parametrize("rule", RULES)


def kept(query: int, share: int, secret: int) -> bool:
    """Say whether a query is one of `share` that pass on."""
    key = blake2b(str(secret).encode()).digest()
    hashed = blake2b(query.to_bytes(8, "little"), key=key, digest_size=8).digest()
    return int.from_bytes(hashed, "little") % share == 0


def memories(
    n: int, history: int, reserve: int = 400, keep: int = 4, secret: int = 0
) -> list[list[list[int]]]:
    """List which queries each memory holds when each of `n` queries arrives."""
    held: list[list[int]] = [[], [], [], [], []]
    before = []
    for query in range(n):
        before.append([list(each) for each in held])
        held[0].append(query)
        for level, most in enumerate([history, *[reserve] * 4]):
            if len(held[level]) > most:
                oldest = held[level].pop(0)
                if level < 4 and kept(oldest, keep ** (level + 1), secret):
                    held[level + 1].append(oldest)
    return before


def obvious(
    vectors: Vectors, rule: str, delta: float, history: int = 10**6, **bounds: int
) -> tuple[list[float], list[tuple[int, int, float]]]:
    """Count pairs by comparing every query with each that any memory holds."""
    counts, pairs = [], []
    for i, held in enumerate(memories(len(vectors), history, **bounds)):
        found = []
        for j in sorted(chain(*held)):
            difference = vectors[i].astype(np.float64) - vectors[j].astype(np.float64)
            distance = float(np.sqrt((difference**2).sum()))
            if distance < delta:
                found.append((distance, j))
        if found and rule == "nearest":
            found = [min(found)]
        pairs += [(i, j, distance) for distance, j in found]
        counts.append(float(len(pairs)))
    return counts, pairs


def batch(first: int, vectors: NDArray[Any] | None, n: int = 0) -> Batch:
    """Make queries that matter by their vectors only."""
    n = n if vectors is None else len(vectors)
    features = {} if vectors is None else {"embedding": vectors}
    return Batch(first, np.zeros((n, 1)), np.zeros(n, np.int64), features=features)


def feed(detector: Similarity, vectors: Vectors, size: int) -> tuple[list[float], list[Any]]:
    """Feed in batches; give statistics and the pairs that the evidence names, each once."""
    counts, pairs = [], []
    for at in range(0, len(vectors), size):
        counts += detector.update(batch(at, vectors[at : at + size])).tolist()
        for row in range(len(vectors[at : at + size])):
            for pair in detector.evidence(row)["latest"]:
                named = (pair["query"], pair["earlier"], pair["distance"])
                if named[0] == at + row:
                    pairs.append(named)
    return counts, pairs


def clusters(seed: int, n: int = 300, d: int = 24, spread: float = 0.05) -> Vectors:
    """Draw vectors around fewer centres, far from the origin, with repeats among them."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (n // 3, d)) + 5
    vectors = centres[rng.integers(0, len(centres), n)] + rng.normal(0, spread, (n, d))
    vectors[rng.integers(0, n, n // 10)] = vectors[rng.integers(0, n, n // 10)]
    return vectors.astype(np.float32)


@each_rule
@pytest.mark.parametrize("size", [1, 7, 19, 20, 300])
def test_pairs_are_those_of_the_obvious_loop(rule: str, size: int):
    """Counts, partners and distances agree bit for bit, whichever way FAISS searches."""
    vectors = clusters(0)
    counts, pairs = obvious(vectors, rule, 0.35)
    assert 20 < counts[-1] < 5000
    assert feed(Similarity(pairs=rule, delta=0.35), vectors, size) == (counts, pairs)


@each_rule
def test_forgotten_vectors_make_no_pairs(rule: str):
    """With a history of 40 and no reserve, only the 40 queries before a query count."""
    vectors = clusters(1)
    expected = obvious(vectors, rule, 0.35, 40, reserve=0)
    assert expected[0][-1] < obvious(vectors, rule, 0.35)[0][-1]
    for size in (1, 33, 300):
        found = feed(Similarity(pairs=rule, delta=0.35, history=40, reserve=0), vectors, size)
        assert found == expected


@pytest.mark.parametrize("window", [1, 30, 90, 1000])
@pytest.mark.parametrize("size", [1, 33, 300])
def test_a_window_counts_the_pairs_of_its_queries(window: int, size: int):
    """That is, those now less those before it; and none is there that a restore would lose."""
    vectors = clusters(1)
    counts, _ = obvious(vectors, "nearest", 0.35, 40, reserve=0)
    before = [0.0] * window + counts
    expected = [now - then for now, then in zip(counts, before, strict=False)]
    assert window >= 300 or max(expected) > expected[-1]
    made = {"delta": 0.35, "history": 40, "reserve": 0, "window": window}
    detector, segments, found = Similarity(**made), [], []
    for at in range(0, len(vectors), size):
        found += detector.update(batch(at, vectors[at : at + size])).tolist()
        assert detector.evidence(-1)["window"] == window
        segments += detector.drain()
        header, detector = detector.header(), Similarity(**made)
        detector.load(header, segments)
    assert found == expected


@pytest.mark.parametrize(
    "options", [{"window": -1}, {"window": 10_001}, {"window": 5, "pairs": "all"}]
)
def test_a_window_that_cannot_be_is_refused(options: dict[str, Any]):
    """Negative, larger than a header holds, or of a rule that counts more than one a query."""
    with pytest.raises(ProfileError, match=r"similarity\.window"):
        Similarity(delta=1.0, **options)


@each_rule
def test_the_reserves_make_pairs_too(rule: str):
    """Pairs with older queries are those of the obvious memories, named by their true indices."""
    vectors = clusters(1)
    bounds = {"history": 25, "reserve": 6, "keep": 2, "secret": 8}
    expected = obvious(vectors, rule, 0.35, **bounds)
    pairs = {(query, earlier) for query, earlier, _ in expected[1]}
    for level, held in enumerate(zip(*memories(300, **bounds), strict=True)):
        assert any(j in held[i] for i, j in pairs), f"no pair in memory {level}: change the seed"
    assert expected[0][-1] < obvious(vectors, rule, 0.35)[0][-1], "nothing is forgotten"
    for size in (1, 33, 300):
        assert feed(Similarity(pairs=rule, delta=0.35, **bounds), vectors, size) == expected


@each_rule
def test_a_distance_of_exactly_delta_is_no_pair(rule: str):
    """Section VI-A says less than delta: at delta is out, one bit less is in."""
    vectors = np.zeros((60, 2), np.float32)
    vectors[:, 0] = np.arange(60)
    for size in (1, 60):
        at = feed(Similarity(pairs=rule, delta=1.0), vectors, size)[0]
        above = feed(Similarity(pairs=rule, delta=float(np.nextafter(1, 2))), vectors, size)[0]
        assert at == [0.0] * 60
        assert above == [float(i) for i in range(60)]


@each_rule
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e18, 3e38])
def test_rounding_decides_nothing(rule: str, offset: float):
    """Vectors on either side of delta, so far out that float32 cannot tell, are told apart."""
    steps = np.linspace(0, 8, 80).astype(np.float32)
    vectors = np.full((80, 3), offset, np.float32)
    vectors[:, 1] = steps
    vectors[::9] = 0.0
    expected = obvious(vectors, rule, 0.25)
    for size in (1, 80):
        assert feed(Similarity(pairs=rule, delta=0.25), vectors, size) == expected


@pytest.mark.parametrize(("rule", "last"), [("nearest", 499.0), ("all", 500 * 499 / 2)])
def test_repeats_are_pairs(rule: str, last: float):
    """An account that sends one query again and again pairs each with the first of them."""
    detector = Similarity(pairs=rule, delta=1e-3)
    counts = detector.update(batch(0, np.ones((500, 8), np.float32)))
    assert counts[-1] == last
    earliest = detector.evidence(499)["latest"][-1]
    assert earliest == {"query": 499, "earlier": 0 if rule == "nearest" else 498, "distance": 0.0}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 5),
    cuts=st.sets(st.integers(1, 299), max_size=10),
    rule=st.sampled_from(RULES),
    bounds=st.sampled_from([(25, 6, 2), (25, 0, 4), (60, 30, 1), (150, 400, 4), (1000, 400, 4)]),
    secret=st.integers(0, 2**64 - 1),
    delta=st.floats(1e-3, 1.0),
)
def test_any_batches_and_restores_are_the_same(
    seed: int, cuts: set[int], rule: str, bounds: tuple[int, int, int], secret: int, delta: float
):
    """Statistics and evidence of any cuts, restored at each, are those of the obvious loop."""
    vectors = clusters(seed)
    kept = {**dict(zip(("history", "reserve", "keep"), bounds, strict=True)), "secret": secret}
    counts, pairs = obvious(vectors, rule, delta, **kept)
    options = {"pairs": rule, "delta": delta, **kept}
    detector, segments, found = build("similarity", options), list[Segment](), list[float]()
    for start, stop in pairwise([0, *sorted(cuts), 300]):
        found += detector.update(batch(start, vectors[start:stop])).tolist()
        latest = detector.evidence(stop - start - 1)["latest"]
        before = [pair for pair in pairs if pair[0] < stop][-10:]
        assert [tuple(pair.values()) for pair in latest] == before
        segments += detector.drain()
        segments = [s for s in segments if s.end > detector.horizon()[s.log]]
        header, detector = detector.header(), build("similarity", options)
        detector.load(header, segments)
    assert found == counts


def test_queries_without_vectors_leave_the_statistic():
    """NaN before the first vector, then the last number; query indices go on."""
    detector = Similarity(delta=0.5)
    assert np.isnan(detector.update(batch(0, None, 3))).all()
    assert detector.update(batch(3, np.zeros((2, 4), np.float32))).tolist() == [0.0, 1.0]
    assert detector.update(batch(5, None, 2)).tolist() == [1.0, 1.0]
    assert detector.evidence(1)["latest"] == [{"query": 4, "earlier": 3, "distance": 0.0}]
    assert detector.update(batch(7, np.zeros((1, 4), np.float32))).tolist() == [2.0]
    assert detector.update(batch(8, np.zeros((2, 0), np.float32))).tolist() == [2.0, 2.0]


def test_vectors_of_two_lengths_are_compared_with_their_like():
    """Encoders that take turns blind nothing; the oldest of all lengths is forgotten first."""
    detector = Similarity(delta=0.5, history=4)
    found = []
    for i in range(12):
        found += detector.update(batch(i, np.zeros((1, 3 + i % 2), np.float32))).tolist()
    assert found == [0, 0, *range(1, 11)]
    assert detector.evidence(0)["remembered"] == 4
    for i in range(12, 40):  # every length once: what it pushes out leaves nothing behind
        assert detector.update(batch(i, np.zeros((1, i), np.float32))).tolist() == [10]
    restored = Similarity(delta=0.5, history=4)
    header = [detector.drain(), detector.header()]
    restored.load(header[1], header[0])
    assert restored.update(batch(40, np.zeros((1, 39), np.float32))).tolist() == [11]


def test_megabytes_bound_the_state():
    """Long vectors push out old ones before there are `history` of them."""
    detector = Similarity(delta=1.0, megabytes=1, reserve=0)
    vectors = np.random.default_rng(0).normal(0, 1, (40, 30_000)).astype(np.float32)
    detector.update(batch(0, vectors))
    assert detector.evidence(39)["remembered"] == 2**20 // (30_000 * 4)
    assert sum(len(s.data) for s in detector.drain()) <= detector.limit()
    again = np.concatenate([vectors[-1:], vectors[:1]])
    assert detector.update(batch(40, again)).tolist() == [1.0, 1.0]


def test_bytes_bound_the_reserves():
    """Vectors of many lengths stay within the limit, in the reserves as in the history."""
    rng = np.random.default_rng(0)
    options = {"delta": 1.0, "megabytes": 1, "history": 100, "reserve": 50, "keep": 2}
    detector, segments, at = Similarity(**options), list[Segment](), 0
    for length in rng.permutation(np.repeat([500, 20_000, 3, 90_000], 30)).tolist():
        detector.update(batch(at, rng.normal(0, 1, (3, length)).astype(np.float32)))
        at += 3
        segments += detector.drain()
        segments = [s for s in segments if s.end > detector.horizon()[s.log]]
        assert sum(len(s.data) for s in segments) + len(detector.header()) <= detector.limit()
    assert 2 < detector.evidence(0)["reserve"] < 100
    restored = Similarity(**options)
    restored.load(detector.header(), segments)
    again = rng.normal(0, 1, (3, 500)).astype(np.float32)
    assert restored.update(batch(at, again)).tolist() == detector.update(batch(at, again)).tolist()
    assert restored.evidence(2) == detector.evidence(2)


@pytest.mark.parametrize("bounds", [{}, {"history": 20, "reserve": 8, "keep": 2}])
def test_what_a_crash_left_beyond_the_header_is_ignored(bounds: dict[str, Any]):
    """Segments of the lost batch are there when the header is older; the re-run is the same."""
    vectors = clusters(3)
    detector = Similarity(delta=0.35, **bounds)
    detector.update(batch(0, vectors[:100]))
    segments, header = detector.drain(), detector.header()
    expected = detector.update(batch(100, vectors[100:]))
    segments += detector.drain()
    assert len({segment.log for segment in segments}) == (5 if bounds else 1)
    restored = Similarity(delta=0.35, **bounds)
    restored.load(header, segments)
    assert np.array_equal(restored.update(batch(100, vectors[100:])), expected)
    assert restored.evidence(199) == detector.evidence(199)


def test_state_that_does_not_fit_is_refused():
    """Missing and damaged segments and other options are errors; the secret is in none."""
    vectors = clusters(3)
    detector = Similarity(delta=0.35)
    detector.update(batch(0, vectors[:100]))
    segments, header = detector.drain(), detector.header()
    with pytest.raises(StateError, match="100 are missing"):
        Similarity(delta=0.35).load(header, [])
    with pytest.raises(StateError, match="damaged"):
        Similarity(delta=0.35).load(header, [Segment("vectors", 1, b"\x01\x00\x00\x00abc")])
    with pytest.raises(StateError, match="options"):
        Similarity(delta=0.36).load(header, segments)
    with pytest.raises(StateError, match="options") as raised:
        Similarity(delta=0.35, secret=987654321).load(header, segments)
    assert "987654321" not in str(raised.value)


def test_the_alarm_is_at_the_fiftieth_pair():
    """The threshold that ships is passed by 50 pairs and not by 49."""
    (each,) = resolve(
        Profile(name="p", detectors=(DetectorProfile(detector="similarity", options={"delta": 1}),))
    ).detectors
    assert each.threshold is not None
    counts = build("similarity", {"delta": 1}).update(batch(0, np.ones((60, 2), np.float32)))
    changes = judge(
        Standing(),
        counts,
        np.zeros(60, np.int64),
        threshold=each.threshold,
        kind=Similarity.kind,
        policy=Policy(),
        profile="",
        name=str,
    )
    assert next(iter(changes)).row == 50
    assert counts[50] == 50.0


def test_waiting_a_query_out_takes_a_history_of_others():
    """Without a reserve a variant of a forgotten query makes no pair; one query sooner, it does."""
    fillers = 100.0 * np.eye(30, dtype=np.float32)
    for gap, pairs in ((29, 1.0), (30, 0.0)):
        sequence = np.concatenate([np.zeros((1, 30)), fillers[:gap], np.full((1, 30), 1e-3)])
        detector = Similarity(delta=0.5, history=30, reserve=0)
        assert detector.update(batch(0, sequence.astype(np.float32)))[-1] == pairs


@pytest.mark.parametrize(
    ("gap", "share"), [(200, 1), (400, 1 / 4), (1_400, 1 / 16), (5_000, 1 / 64)]
)
def test_who_waits_still_makes_pairs(gap: int, share: float):
    """Variants so far apart pair with the stated chance, other ones for every secret."""
    seeds = np.random.default_rng(0).normal(0, 1, (gap, 8)).astype(np.float32)
    vectors, caught = np.concatenate([seeds, seeds]), []
    for secret in (1, 2):
        detector = Similarity(delta=1e-3, history=200, reserve=100, secret=secret)
        pairs = feed(detector, vectors, 250)[1]
        assert all(query - earlier == gap for query, earlier, _ in pairs)
        assert abs(len(pairs) - gap * share) <= 4 * (gap * share * (1 - share)) ** 0.5
        caught.append({earlier for _, earlier, _ in pairs})
    assert share == 1 or len(caught[0] & caught[1]) < 0.5 * len(caught[0])


def test_the_engine_passes_embeddings_on():
    """Events with embeddings of their own alarm; those without leave the number as it is."""
    options = {"delta": 0.5}
    profile = Profile(
        name="p", detectors=(DetectorProfile(detector="similarity", options=options, threshold=2),)
    )
    engine, found, verdicts = Engine(profile), [], []
    for number, embedded in enumerate([False, True, True, False, True]):
        event = QueryEvent(
            id=str(number),
            account="a",
            model="m",
            time=number,
            inputs=Tensor.from_array(np.random.default_rng(number).normal(size=(2, 5))),
            labels=[0, 1],
            embedding=Tensor.from_array(np.ones((2, 3))) if embedded else None,
        )
        (outcome,) = engine.process([Arrival(event, Source("queries", 0, number))])
        found += outcome.statistics["similarity"].tolist()
        verdicts += outcome.verdicts
    assert np.isnan(found[:2]).all()
    assert found[2:] == [0, 1, 2, 3, 3, 3, 4, 5]
    assert [(each.query, each.statistic) for each in verdicts][:1] == [(5, 3.0)]
    assert [pair["query"] for pair in verdicts[0].evidence["latest"]] == [3, 4, 5]


def test_evidence_is_json():
    """Evidence goes into verdicts as it is."""
    detector = Similarity(delta=0.5)
    detector.update(batch(0, np.zeros((30, 4), np.float32)))
    evidence = detector.evidence(29)
    assert json.loads(json.dumps(evidence)) == evidence
    assert len(evidence["latest"]) == 10
    assert {key: evidence[key] for key in ("rule", "delta", "pairs", "remembered")} == {
        "rule": "nearest",
        "delta": 0.5,
        "pairs": 29,
        "remembered": 30,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "delta is not set.*gamekeeper calibrate"),
        ({"delta": -1.0}, "delta"),
        ({"delta": float("inf")}, "delta"),
        ({"delta": float("nan")}, "delta"),
        ({"delta": 1.0, "pairs": "some"}, "nearest, all"),
        ({"delta": 1.0, "history": 0}, "at least 1"),
        ({"delta": 1.0, "megabytes": 0}, "at least 1"),
        ({"delta": 1.0, "reserve": -1}, "reserve is at least 0"),
        ({"delta": 1.0, "keep": 0}, "keep at least 1"),
        ({"delta": 1.0, "secret": -1}, "secret"),
        ({"delta": 1.0, "secret": 2**64}, "secret"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str):
    """What cannot work is refused with what would."""
    with pytest.raises(ProfileError, match=message):
        build("similarity", options)
