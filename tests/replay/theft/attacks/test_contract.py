"""What `base` promises of every attack, proved for each name in the catalog."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch

from gamekeeper.replay.theft import (
    Answers,
    Attack,
    AttackOver,
    Images,
    Oracle,
    Reply,
    Request,
    Sent,
    Start,
)
from gamekeeper.replay.theft.attacks import ATTACKS, attack
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.recording import Recorder
from support.natural_images import digits

BUDGET = 60
QUICK = {"epochs": 2, "iterations": 3, "batch": 4, "candidates": 2}
QUICK_OF = {"jba-cw": {"steps": 40}}
"""Settings with which an attack that has them is soon done, and those of single attacks."""
CASES = [(name, colour) for name in ATTACKS for colour in (False, True)]
every_attack = pytest.mark.parametrize(("name", "colour"), CASES)


class Played(NamedTuple):
    """What an attack started with, what it yielded and had asked by then, what the victim saw."""

    start: Start
    sent: list[Sent]
    requests_by_then: list[int]
    seen: list[tuple[Request, Answers]]


def quick(name: str) -> Attack:
    """Return an attack with quick settings."""
    function = attack(name)
    options = inspect.signature(function).parameters
    settings = {key: QUICK[key] for key in QUICK if key in options}
    return partial(function, **settings, **QUICK_OF.get(name, {}))


def _pictures(colour: bool) -> Images:
    """Return digits, grey or in fixed colours."""
    grey = digits()[0]
    tint = np.array([1.0, 0.6, 0.3])
    return np.rint(grey[..., None] * tint).astype(np.uint8) if colour else grey


@functools.cache
def _victim(colour: bool) -> Classifier:
    images = _pictures(colour)
    model = Classifier(Architecture(images.shape[1:], 10, (8, 16), (32,)), 0)
    model.fit(images[:600], digits()[1][:600], 6)
    return model


def _start(colour: bool) -> Start:
    """Return two seeds of each class, and a pool with its collector's labels."""
    images, labels = _pictures(colour), digits()[1]
    return Start(images[:20].copy(), 10, images[800:950].copy(), labels[800:950])


def _play(name: str, colour: bool, seed: int = 1) -> Played:
    recorder, start = Recorder(_victim(colour)), _start(colour)
    sent, counts = [], []
    for each in quick(name)(recorder, start, BUDGET, np.random.default_rng(seed)):
        sent.append(each)
        counts.append(len(recorder.seen))
    return Played(start, sent, counts, [(seen.request, seen.answers) for seen in recorder.seen])


played = functools.cache(_play)


def _images(done: Played) -> Images:
    return np.concatenate([each.images for each in done.sent])


@every_attack
def test_what_is_yielded_is_what_the_victim_saw_and_said(name: str, colour: bool) -> None:
    """Every image went through the oracle, and its label is the victim's answer to it."""
    done = played(name, colour)
    assert len(done.sent) == len(done.seen)
    for sent, (request, _) in zip(done.sent, done.seen, strict=True):
        np.testing.assert_array_equal(sent.images, request.images)
        assert (sent.synthetic, sent.round) == (request.synthetic, request.round)
    labels = np.concatenate([each.answers.labels for each in done.sent])
    np.testing.assert_array_equal(labels, _victim(colour)(_images(done)).labels)


@every_attack
def test_queries_are_real_images_within_the_budget(name: str, colour: bool) -> None:
    """All are uint8 of the victim's shape; the budget is used, and not exceeded."""
    done = played(name, colour)
    for sent in done.sent:
        assert sent.images.dtype == np.uint8
        assert sent.images.shape[1:] == _start(colour).seeds.shape[1:]
    assert BUDGET - 8 < len(_images(done)) <= BUDGET


@every_attack
def test_natural_images_are_sent_unchanged_and_rounds_count_up(name: str, colour: bool) -> None:
    """What is not marked as synthetic is a seed or of the pool; rounds begin at 0."""
    start = _start(colour)
    own = {each.tobytes() for each in (*start.seeds, *start.pool)}
    done = played(name, colour)
    for sent in done.sent:
        if not sent.synthetic:
            assert {each.tobytes() for each in sent.images} <= own
    rounds = [each.round for each in done.sent]
    assert rounds[0] == 0
    assert rounds == sorted(rounds)


@every_attack
def test_what_was_asked_is_yielded_before_more_is_asked(name: str, colour: bool) -> None:
    """Whoever stops iterating has all that was asked."""
    done = played(name, colour)
    assert done.requests_by_then == list(range(1, len(done.sent) + 1))


@every_attack
def test_an_attack_leaves_what_it_starts_with_as_it_was(name: str, colour: bool) -> None:
    """Seeds and pool are not written to."""
    for ours, fresh in zip(played(name, colour).start, _start(colour), strict=True):
        np.testing.assert_array_equal(ours, fresh)


@pytest.mark.parametrize("name", ATTACKS)
def test_queries_follow_the_seed_and_nothing_else(name: str) -> None:
    """The same seed asks the same, whatever global generators hold; another asks others."""
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    first, again, other = (
        _images(done) for done in (played(name, False), _play(name, False), _play(name, False, 2))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def _leaving_out(oracle: Oracle) -> Oracle:
    """Send every other image only, but all of a probe, as a filter does."""
    asked = 0

    def some(request: Request) -> Reply:
        nonlocal asked
        sent = (asked + np.arange(len(request.images))) % 2 == 1
        asked += len(sent)
        if request.probe:
            sent[:] = True
        reply = oracle(request._replace(images=request.images[sent]))
        return Reply(reply.answers, sent)

    return some


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_copes_when_images_are_left_out(name: str) -> None:
    """With half of its images unanswered it goes on until its budget of answers is used."""
    oracle = _leaving_out(Recorder(_victim(False)))
    done = list(quick(name)(oracle, _start(False), BUDGET, np.random.default_rng(1)))
    for sent in done:
        assert len(sent.images) == len(sent.answers.labels)
    assert BUDGET - 8 < sum(len(sent.images) for sent in done) <= BUDGET


@pytest.mark.parametrize("name", ATTACKS)
def test_the_smallest_budget_is_used(name: str) -> None:
    """One query is one image: nothing empty is asked, and no attack fails."""
    recorder = Recorder(_victim(False))
    list(quick(name)(recorder, _start(False), 1, np.random.default_rng(1)))
    assert [len(seen.request.images) for seen in recorder.seen] == [1]


def _refusing(oracle: Oracle, at: int) -> Callable[[Request], Reply]:
    """Give up at the request of this number."""
    count = 0

    def refuse(request: Request) -> Reply:
        nonlocal count
        count += 1
        if count == at:
            raise AttackOver("no account is left")
        return oracle(request)

    return refuse


@pytest.mark.parametrize("name", ATTACKS)
def test_an_evasion_can_end_an_attack(name: str) -> None:
    """What an evasion raises at the last request comes out, after all that was answered."""
    requests = len(played(name, False).seen)
    oracle = _refusing(Recorder(_victim(False)), requests)
    sent = quick(name)(oracle, _start(False), BUDGET, np.random.default_rng(1))
    for _ in range(requests - 1):
        next(sent)
    with pytest.raises(AttackOver, match="no account is left"):
        next(sent)
