"""Does every evasion of the catalog keep the contract stated in `replay/theft/evasions/base.py`?"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from gamekeeper.replay.theft import Answers, Images, Oracle, Reply, Request, Start
from gamekeeper.replay.theft.evasions import CANDID, EVASIONS, evasion
from gamekeeper.replay.theft.recording import Recorder

QUICK: dict[str, dict[str, Any]] = {
    "blind-auto-encoder": {"epochs": 1},
    "filter": {"epochs": 1, "rate": 0.2},
    "filter-seeds": {"epochs": 1, "rate": 0.2},
}
UNCHANGED = [name for name in EVASIONS if not name.startswith("blind-")]
"""Those that send the images that they were given, as far as they send them."""
WHOLE = ["filter", "filter-seeds", "pace", "split-by-stage"]
"""Those whose own requests are long enough for the forgetful oracle to forget some."""


def telling(images: Images) -> Answers:
    """Give probabilities that tell images apart, so that no answer can be mistaken for another."""
    rows = images.reshape(len(images), 64).astype(np.int64)
    weights = np.random.default_rng(0).integers(1, 10_000, (64, 10))
    shares = (rows @ weights % 997 / 997).astype(np.float32)
    return Answers(shares.argmax(axis=1), shares)


def requests(start: Start) -> list[Request]:
    """Make what attacks send: seeds, crafted rounds, probes one by one and many."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (30, *start.seeds.shape[1:]), dtype=np.uint8)
    near = np.clip(start.seeds.astype(np.int64) + 5, 0, 255).astype(np.uint8)
    return [
        Request(start.seeds, synthetic=False, round=0),
        Request(near, synthetic=True, round=1),
        *(Request(noise[[i]], synthetic=True, round=1, probe=True) for i in range(5)),
        Request(noise[5:], synthetic=True, round=2, probe=True),
        Request(near[::2], synthetic=True, round=3),
    ]


def built(name: str, inner: Oracle, start: Start, seed: int = 3) -> Oracle:
    """Put an evasion before an oracle."""
    return partial(evasion(name), **QUICK.get(name, {}))(inner, start, np.random.default_rng(seed))


def forgetful(inner: Oracle) -> Oracle:
    """Make an oracle that leaves every third image out, unless it is a probe."""

    def leaving_out(request: Request) -> Reply:
        kept = np.arange(len(request.images)) % 3 != 1
        if request.probe:
            kept[:] = True
        reply = inner(request._replace(images=request.images[kept]))
        return Reply(reply.answers, kept)

    return leaving_out


def check_reply(request: Request, reply: Reply) -> None:
    """A reply has one answer per image that was sent."""
    assert reply.sent.shape == (len(request.images),)
    assert reply.sent.dtype == np.bool_
    assert reply.answers.labels.shape == (reply.sent.sum(),)
    assert reply.answers.probabilities.shape == (reply.sent.sum(), 10)


@pytest.mark.parametrize("name", EVASIONS)
def test_probes_are_answered_exactly(name: str, start: Start) -> None:
    """Every probe was sent as it is and has the answer to itself."""
    recorder = Recorder(telling)
    oracle = built(name, recorder, start)
    for request in requests(start):
        before, since = request.images.copy(), len(recorder.seen)
        reply = oracle(request)
        check_reply(request, reply)
        np.testing.assert_array_equal(request.images, before)
        if request.probe:
            assert reply.sent.all()
            np.testing.assert_array_equal(
                reply.answers.probabilities, telling(request.images).probabilities
            )
            seen = {i.tobytes() for s in recorder.seen[since:] for i in s.request.images}
            assert {i.tobytes() for i in request.images} <= seen


@pytest.mark.parametrize("name", EVASIONS)
def test_what_is_sent_is_real_images(name: str, start: Start) -> None:
    """Everything that reaches the victim is uint8 and of the victim's shape."""
    recorder = Recorder(telling)
    oracle = built(name, recorder, start)
    for request in requests(start):
        oracle(request)
    for seen in recorder.seen:
        assert seen.request.images.dtype == np.uint8
        assert seen.request.images.shape[1:] == start.seeds.shape[1:]
        assert seen.request.images.flags.c_contiguous


@pytest.mark.parametrize("name", EVASIONS)
def test_what_is_natural_stays_so(name: str, start: Start) -> None:
    """What is marked as natural is an image of the seeds or of the pool, unchanged."""
    recorder = Recorder(telling)
    oracle = built(name, recorder, start)
    for request in requests(start):
        oracle(request)
    natural = {image.tobytes() for images in (start.seeds, start.pool) for image in images}
    for seen in recorder.seen:
        if not seen.request.synthetic:
            assert {image.tobytes() for image in seen.request.images} <= natural


@pytest.mark.parametrize("name", UNCHANGED)
@pytest.mark.parametrize("leaves_out", [False, True])
def test_answers_belong_to_their_images(name: str, leaves_out: bool, start: Start) -> None:
    """Answers come in the order of the request's images, and what was left out has none."""
    recorder = Recorder(telling)
    oracle = built(name, forgetful(recorder) if leaves_out else recorder, start)
    left_out = 0
    for request in requests(start):
        reply = oracle(request)
        check_reply(request, reply)
        left_out += int((~reply.sent).sum())
        expected = telling(request.images[reply.sent])
        np.testing.assert_array_equal(reply.answers.labels, expected.labels)
        np.testing.assert_array_equal(reply.answers.probabilities, expected.probabilities)
    assert left_out or not (leaves_out and name in WHOLE)


@pytest.mark.parametrize("name", EVASIONS)
def test_the_same_seed_makes_the_same_queries(name: str, start: Start) -> None:
    """Two runs with the same start, requests and seed send the same."""
    seen = []
    for _ in range(2):
        recorder = Recorder(telling)
        oracle = built(name, recorder, start)
        for request in requests(start):
            oracle(request)
        seen.append(recorder.seen)
    assert len(seen[0]) == len(seen[1])
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one.request.images, other.request.images)
        assert one.request._replace(images=None) == other.request._replace(images=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EVASIONS)
def test_the_candid_ones_change_no_answer(name: str, start: Start) -> None:
    """A thief gets what the victim says to his own images from those, from others not always."""
    oracle = built(name, Recorder(telling), start)
    same = [
        reply.sent.all()
        and np.array_equal(reply.answers.probabilities, telling(request.images).probabilities)
        for request in requests(start)
        for reply in [oracle(request)]
    ]
    assert all(same) == (name in CANDID)


@pytest.mark.parametrize("name", EVASIONS)
def test_the_pool_may_have_other_classes_than_the_victim(name: str, start: Start) -> None:
    """A thief of a model with ten classes may have a pool with forty-three."""
    assert start.pool_labels is not None
    public = start._replace(pool_labels=start.pool_labels + 33)
    oracle = built(name, Recorder(telling), public)
    assert oracle(Request(start.seeds, synthetic=False, round=0)).sent.any()
