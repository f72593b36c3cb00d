"""Does the filter leave out what its detector would notice, and nothing else?"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from gamekeeper.replay.theft import AttackOver, Memo, Reply, Request, Start
from gamekeeper.replay.theft.evasions import filter as filtering
from gamekeeper.replay.theft.model import Classifier
from gamekeeper.replay.theft.recording import Recorder
from gamekeeper.replay.tune.training import TrainPlan


def test_all_that_is_sent_is_far_apart(victim: Classifier, start: Start) -> None:
    """No two images sent are closer than delta, and each image left out is close to one sent."""
    rng = np.random.default_rng(0)
    recorder = Recorder(victim)
    oracle = filtering.query_filter(recorder, start, rng, epochs=2, rate=0.3)
    # The same encoder and delta, from the same seed.
    encoder = filtering._encoder(
        start.pool,
        start.pool_labels,
        TrainPlan(("embedding",), "small", 2),
        np.random.default_rng(0),
    )
    among = np.linalg.norm(encoder(start.pool)[:, None] - encoder(start.pool), axis=2)
    np.fill_diagonal(among, np.inf)
    delta = np.quantile(among.min(axis=1), 0.3)
    near = np.clip(start.seeds.astype(np.int64) + 9, 0, 255).astype(np.uint8)
    images = np.concatenate([start.seeds, near])
    reply = oracle(Request(images, synthetic=True, round=0))
    assert 10 < reply.sent.sum() < 60
    sent, out = encoder(images[reply.sent]), encoder(images[~reply.sent])
    pairs = np.linalg.norm(sent[:, None] - sent, axis=2)
    assert pairs[np.triu_indices(len(sent), 1)].min() >= delta * 0.999
    assert np.linalg.norm(out[:, None] - sent, axis=2).min(axis=1).max() < delta * 1.001
    np.testing.assert_array_equal(recorder.seen[0].request.images, images[reply.sent])


def test_accounts_are_filtered_each_for_itself(victim: Classifier, start: Start) -> None:
    """An image that one account has sent may be sent by another, not again by the first."""
    oracle = filtering.query_filter(
        Recorder(victim), start, np.random.default_rng(0), images="seeds", epochs=1
    )
    image = start.pool[:1]
    replies = [oracle(Request(image, synthetic=False, round=0, account=a)) for a in (0, 1, 0)]
    assert [reply.sent.item() for reply in replies] == [True, True, False]


def test_a_thief_who_is_mostly_refused_gives_up(victim: Classifier, start: Start) -> None:
    """When less than the least share of the latest images was sent, the next request is refused."""
    recorder = Recorder(victim)
    oracle = filtering.query_filter(
        recorder, start, np.random.default_rng(0), epochs=1, patience=10, least=0.2
    )
    apart = start.seeds[:1], np.zeros_like(start.seeds[:1]), np.full_like(start.seeds[:1], 255)
    again = apart[0].repeat(8, axis=0)
    first = oracle(Request(np.concatenate([*apart[:2], again]), synthetic=True, round=1))
    assert first.sent.sum() == 2  # two of ten are just enough to go on
    second = oracle(Request(np.concatenate([again[:1], apart[2]]), synthetic=True, round=1))
    assert second.sent.tolist() == [False, True]  # the first of the ten is forgotten
    with pytest.raises(AttackOver, match="9 of the latest 10 queries"):
        oracle(Request(start.seeds[1:2], synthetic=True, round=1))
    assert recorder.queries == 3


def test_an_encoder_that_is_kept_serves_another_process(
    victim: Classifier, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is trained again, and the same images are left out; other images need another."""

    def replies(images: Literal["pool", "seeds"]) -> Reply:
        monkeypatch.setattr(filtering, "_ENCODERS", Memo(2))  # as in a new process
        oracle = filtering.query_filter(
            Recorder(victim),
            start,
            np.random.default_rng(0),
            images=images,
            epochs=1,
            keep=tmp_path,
        )
        return oracle(Request(start.pool, synthetic=False, round=0))

    def forbidden(*_: object) -> None:
        pytest.fail("an encoder was trained again")

    alone = replies("seeds")
    monkeypatch.setattr(filtering, "train", forbidden)
    np.testing.assert_array_equal(replies("seeds").sent, alone.sent)
    with pytest.raises(pytest.fail.Exception):
        replies("pool")
