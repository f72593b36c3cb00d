"""Pairs are those that the obvious loop finds, with any traffic, in any batches."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

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
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tensor import Tensor
from support.pairs import RULES, batch, clusters, feed, memories, obvious

each_rule = pytest.mark.parametrize("rule", RULES)


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
