"""Do the evasions that change nothing but the company and the sender do what they say?"""

from __future__ import annotations

import numpy as np
import pytest

from gamekeeper.replay.theft import Request, Start
from gamekeeper.replay.theft.attacks.papernot import papernot
from gamekeeper.replay.theft.evasions import evasion
from gamekeeper.replay.theft.model import Classifier
from gamekeeper.replay.theft.recording import Recorder, Run, run
from gamekeeper.replay.theft.thief import until
from gamekeeper.schemas.errors import SettingsError

BUDGET = 90


def attacked(name: str, victim: Classifier, start: Start, **options: object) -> Run:
    """Let papernot's attack hide by one evasion."""
    hiding = [lambda *given: evasion(name)(*given, **options)]
    return run(papernot, Recorder(victim), start, BUDGET, np.random.default_rng(1), hiding)


def test_turns_go_round_the_accounts(victim: Classifier, start: Start) -> None:
    """Each account sends every k-th image of the attack; image after image is the next one's."""
    result = attacked("split-round-robin", victim, start, accounts=3)
    sent = np.concatenate([s.request.images for s in result.seen])
    np.testing.assert_array_equal(sent, result.loot.images)
    for account in range(3):
        own = [s.request.images for s in result.seen if s.request.account == account]
        np.testing.assert_array_equal(np.concatenate(own), result.loot.images[account::3])
    assert {s.request.account for s in result.seen} == {0, 1, 2}


def test_stages_go_to_accounts_of_their_own(victim: Classifier, start: Start) -> None:
    """All images of a round have one account, the next round's another."""
    result = attacked("split-by-stage", victim, start, accounts=2)
    assert [(s.request.round, s.request.account) for s in result.seen] == [(0, 0), (1, 1), (2, 0)]


@pytest.mark.parametrize("name", ["split-round-robin", "split-by-stage", "split-by-class"])
def test_splits_keep_the_order_of_the_attack(name: str, victim: Classifier, start: Start) -> None:
    """Whoever stops the thief after n queries leaves him the first n images."""
    result = attacked(name, victim, start)
    sent = np.concatenate([s.request.images for s in result.seen])
    for stop in (7, 50, BUDGET):
        np.testing.assert_array_equal(until(result.loot, stop).images, sent[:stop])


def test_classes_go_to_accounts_of_their_own(victim: Classifier, start: Start) -> None:
    """Most of what an account sends has the class that the account is for."""
    result = attacked("split-by-class", victim, start, accounts=10)
    accounts = np.concatenate(
        [np.full(len(s.answers.labels), s.request.account) for s in result.seen]
    )
    labels = np.concatenate([s.answers.labels for s in result.seen])
    # By chance it would be one in ten; what the thief errs about is the first of each class.
    assert np.mean(accounts == labels) > 0.5


def test_split_twice_gives_every_pair_an_account(victim: Classifier, start: Start) -> None:
    """Two splits around each other make as many accounts as their numbers multiplied."""
    recorder = Recorder(victim)
    rng = np.random.default_rng(0)
    inner = evasion("split-round-robin")(recorder, start, rng, accounts=2)  # type: ignore[call-arg]
    outer = evasion("split-by-stage")(inner, start, rng, accounts=3)  # type: ignore[call-arg]
    for number in range(3):
        outer(Request(start.seeds[:4], synthetic=False, round=number))
    assert {s.request.account for s in recorder.seen} == set(range(6))


def test_more_than_everything_cannot_be_natural(victim: Classifier, start: Start) -> None:
    """A share of one leaves no place for the attack."""
    with pytest.raises(SettingsError, match="give a number from 0 to below 1"):
        attacked("dilute", victim, start, share=1.0)


@pytest.mark.parametrize("share", [0.3, 0.75])
def test_dilution_has_its_share(share: float, victim: Classifier, start: Start) -> None:
    """Natural images of the pool are the given share of all queries, none sent twice too soon."""
    result = attacked("dilute", victim, start, share=share)
    pool = {image.tobytes() for image in start.pool}
    sent = [image.tobytes() for s in result.seen for image in s.request.images]
    extras = [image for image in sent if image in pool]
    assert len(extras) == int(BUDGET * share / (1 - share) + 1e-9)
    assert len(set(extras[: len(pool)])) == len(extras[: len(pool)])
    assert len(sent) - len(extras) == BUDGET


def test_dilution_takes_a_pool(victim: Classifier, start: Start) -> None:
    """Without natural images there is nothing to hide among."""
    with pytest.raises(SettingsError, match="pool"):
        attacked("dilute", victim, start._replace(pool=start.pool[:0]))


def test_duplicates_repeat_the_first_image(victim: Classifier, start: Start) -> None:
    """Before each image but the first come so many copies of the first."""
    result = attacked("duplicates", victim, start, repeats=4)
    images = np.concatenate([s.request.images for s in result.seen])
    assert len(images) == BUDGET + 4 * (BUDGET - 1)
    own = np.arange(len(images)) % 5 == 0
    np.testing.assert_array_equal(images[own], result.loot.images)
    assert (images[~own] == images[0]).all()


def test_constant_steps_are_constant_and_never_the_same(victim: Classifier, start: Start) -> None:
    """The images in between differ, and lie equally far from the first, their nearest."""
    result = attacked("constant-steps", victim, start, repeats=4, step=32)
    images = np.concatenate([s.request.images for s in result.seen])
    fillers = images[np.arange(len(images)) % 5 != 0].reshape(-1, 64).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(fillers - images[0].ravel(), axis=1), 32 * 2**0.5)
    for at, filler in enumerate(fillers[1:], 1):
        assert np.linalg.norm(fillers[:at] - filler, axis=1).min() > 45.2
    assert all(s.request.synthetic for s in result.seen if len(s.request.images) == 4)


def test_pacing_waits(victim: Classifier, start: Start) -> None:
    """Twenty queries an hour are one in three minutes, for seeds and crafted ones alike."""
    result = attacked("pace", victim, start, per_hour=20)
    assert {s.request.pause for s in result.seen} == {180.0}
    assert [s.request.round for s in result.seen] == [0, 1, 2]
