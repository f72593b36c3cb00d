"""Attacks that follow a substitute's gradients: do they grow, move and aim as the papers say?"""

from __future__ import annotations

import functools
from functools import partial
from itertools import cycle

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist

from gamekeeper.replay.theft import (
    WHITE,
    Attack,
    Images,
    Labels,
    Reply,
    Request,
    Start,
    duplicate,
    quantise,
)
from gamekeeper.replay.theft.attacks import catalog
from gamekeeper.replay.theft.attacks.color import color
from gamekeeper.replay.theft.attacks.feature_fool import _features, _fool, _margins, feature_fool
from gamekeeper.replay.theft.attacks.jba_binary_search import jba_binary_search
from gamekeeper.replay.theft.attacks.jba_pgd import jba_pgd
from gamekeeper.replay.theft.attacks.papernot import papernot
from gamekeeper.replay.theft.attacks.t_rnd import t_rnd
from gamekeeper.replay.theft.craft import carlini, likeliest, random_others, signed_steps
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.recording import Recorder, run
from support.natural_images import digits, rob, thief

DOUBLING, FOURFOLD = [20, 20, 40, 50], [20, 60, 50]
ROUNDS = {
    # Seeds, then rounds that double or (with three targets each) quadruple, then what is left.
    "papernot": DOUBLING,
    "n-ifgsm": DOUBLING,
    "jb-self": DOUBLING,
    "t-rnd-fgsm": FOURFOLD,
    "t-rnd-ifgsm": FOURFOLD,
    "color": FOURFOLD,
    "jb-topk": FOURFOLD,
    "jb-top3": FOURFOLD,
    "jba-pgd": FOURFOLD,
    "jba-binary-search": FOURFOLD,
}


@functools.cache
def victim() -> Classifier:
    """Return a model that knows the digits well."""
    images, labels = digits()
    model = Classifier(Architecture((8, 8), 10), 0)
    model.fit(images[:1000], labels[:1000], 5)
    return model


def _images() -> Images:
    """Return digits that the victim was not trained on."""
    return digits()[0][-50:]


def _others() -> Labels:
    """Return a class for each image that the victim does not find there."""
    return (victim()(_images()).labels + 1) % 10


def _chance(images: Images, classes: Labels) -> np.ndarray:
    """Return the victim's probability of a class for each image."""
    return victim()(images).probabilities[np.arange(len(images)), classes]


def test_the_victim_is_worth_stealing() -> None:
    """The network learns what it is trained on."""
    images, labels = digits()
    assert np.mean(victim()(images[1000:]).labels == labels[1000:]) > 0.85


@pytest.mark.parametrize("name", ROUNDS)
def test_rounds_grow_by_the_papers_factor(name: str) -> None:
    """Natural seeds come first, then crafted rounds; the last one is cut to the budget."""
    quick = {"papernot": {}, "color": {}}.get(name, {"epochs": 2})
    done = rob(partial(catalog.attack(name), **quick), thief(), 130)
    requests = [seen.request for seen in done.seen]
    assert [len(each.images) for each in requests] == ROUNDS[name]
    assert [each.round for each in requests] == list(range(len(requests)))
    assert [each.synthetic for each in requests] == [False] + [True] * (len(requests) - 1)
    np.testing.assert_array_equal(requests[0].images, thief().seeds)


def _moves(attack: Attack, budget: int = 80) -> np.ndarray:
    """Return each pixel's distance of the first round's images from their own origin."""
    images = rob(attack, thief(), budget).loot.images.astype(np.int64)
    copies = budget // 20 - 1
    return np.abs(images[20:] - images[:20].repeat(copies, axis=0)).reshape(budget - 20, -1)


@pytest.mark.parametrize(
    ("budget", "trained"),
    [
        # 50 are left: of 50, 215 and 428 made a tenth came through, three of each image at most.
        (100, [50, 55, 71, 92]),
        # One is left, and 1, 2, 4 and 8 are made until the tenth comes through.
        (51, [50, 50, 50, 50]),
    ],
)
def test_rounds_make_up_for_what_an_evasion_leaves_out(budget: int, trained: list[int]) -> None:
    """Where a tenth comes through, the substitute is not trained for each of the last queries."""
    recorder, sizes = Recorder(victim()), []
    tenth = cycle([False] * 9 + [True])

    def sparse(request: Request) -> Reply:
        through = np.array([not request.synthetic or next(tenth) for _ in request.images])
        reply = recorder(request._replace(images=request.images[through]))
        return Reply(reply.answers, through)

    def craft(images: Images, labels: Labels, wanted: int) -> Images:
        return images.repeat(3, axis=0)[:wanted]

    def learn(images: Images, labels: Labels) -> None:
        sizes.append(len(images))

    sent = list(duplicate(sparse, _images(), budget, learn, craft))
    assert sum(len(each.images) for each in sent) == recorder.queries == budget
    assert sizes == trained
    rounds = [each.round for each in sent]
    assert rounds == sorted(rounds)
    assert rounds[-1] == len(trained)


def test_papernot_steps_by_lambda_and_keeps_to_its_reservoir() -> None:
    """Every crafted pixel lies one step of 25.5 from its origin's, and rounds are capped."""
    done = rob(partial(papernot, reservoir=15), thief(), 50)
    first, second, third = (seen.request.images for seen in done.seen)
    assert [len(first), len(second), len(third)] == [20, 15, 15]
    moves = cdist(second.reshape(15, -1), first.reshape(20, -1), "chebyshev").min(axis=1)
    assert set(moves) <= {25.0, 26.0}


def test_t_rnd_moves_by_its_step_in_one_or_many() -> None:
    """FGSM moves every pixel by the whole step, unless the range ends; I-FGSM also by parts."""
    once = _moves(partial(t_rnd, steps=1, step=40.0, epochs=2))
    often = _moves(partial(t_rnd, step=40.0, epochs=2))
    assert once.max() == often.max() == 40
    assert len(np.unique(often)) > len(np.unique(once))


@pytest.mark.parametrize(("name", "reach"), [("jb-topk", 64), ("jb-top3", 20)])
def test_jb_topk_goes_as_far_as_its_steps(name: str, reach: int) -> None:
    """PRADA's forty steps reach its bound, Orekondy's eight of 2.55 end before theirs."""
    assert _moves(partial(catalog.attack(name), epochs=2)).max() == reach


def _by_hand(
    images: Images, classes: Labels, reach: float, step: float, steps: int, sign: float
) -> np.ndarray:
    """Take iterated FGSM's steps the obvious way, one image at a time."""
    moved = []
    for image, label in zip(images.astype(np.float32), classes, strict=True):
        pixels = image.copy()
        for _ in range(steps):
            gradient = victim().gradient(pixels[None], np.array([label]))[0]
            pixels = pixels + np.float32(sign * step) * np.sign(gradient)
            pixels = np.clip(np.clip(pixels, image - reach, image + reach), 0, 255)
        moved.append(pixels)
    return np.stack(moved)


@pytest.mark.parametrize("away", [False, True])
def test_signed_steps_are_iterated_fgsm(away: bool) -> None:
    """They equal the obvious loop, and serve or avoid the class as they should."""
    images, classes = _images(), _others()
    moved = signed_steps(victim(), images, classes, reach=64.0, step=8.0, steps=11, away=away)
    expected = _by_hand(images, classes, 64.0, 8.0, 11, 1.0 if away else -1.0)
    assert np.mean(quantise(moved) == quantise(expected)) > 0.999  # a sign may be of a zero
    gain = _chance(quantise(moved), classes) - _chance(images, classes)
    assert gain.mean() < -0.001 if away else gain.mean() > 0.3


def test_scattered_steps_begin_elsewhere_and_follow_their_generator_only() -> None:
    """Equal generators give equal images within reach; numpy's global one is left as it was."""
    images, classes = _images(), _others()
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    first, again, other, plain = (
        signed_steps(victim(), images, classes, reach=8.0, step=0.5, steps=3, scatter=rng)
        for rng in (*map(np.random.default_rng, (1, 1, 2)), None)
    )
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert np.abs(plain - images).max() <= 1.5
    assert 1.5 < np.abs(first - images).max() <= 8.0 + 1e-4


def test_likeliest_targets_are_the_substitutes_next_best() -> None:
    """Each image's first targets are the classes of highest probability besides its own."""
    images, own = _images(), victim()(_images()).labels
    aims = likeliest(victim(), images, own, 3, 100)
    assert len(aims.images) == 3 * 34
    for row, probabilities in enumerate(victim()(images[:34]).probabilities):
        best = sorted(range(10), key=lambda label: -probabilities[label])
        assert aims.targets[3 * row : 3 * row + 3].tolist() == best[1:4]
        assert set(aims.own[3 * row : 3 * row + 3]) == {own[row]}
        np.testing.assert_array_equal(aims.images[3 * row], images[row])


def test_random_targets_differ_and_are_never_the_own_class() -> None:
    """Three other classes each; all of them, where the victim knows two only."""
    labels = np.arange(10)
    aims = random_others(np.random.default_rng(1), 10, _images()[:10], labels, 3, 30)
    for targets, own in zip(aims.targets.reshape(10, 3), labels, strict=True):
        assert len({*targets, own}) == 4
    two = random_others(np.random.default_rng(1), 2, _images()[:10], labels % 2, 3, 10)
    np.testing.assert_array_equal(two.targets, 1 - labels % 2)


def test_color_moves_a_channel_by_one_amount() -> None:
    """Where nothing is cut off, all pixels of a channel move alike, up to the step."""
    rng = np.random.default_rng(1)
    seeds = rng.integers(100, 150, (10, 8, 8, 3), dtype=np.uint8)
    model = Classifier(Architecture((8, 8, 3), 10), 1)
    done = run(color, Recorder(model), Start(seeds, 10, seeds), 40, rng)
    images = done.loot.images.astype(np.int64)
    amounts = (images[10:] - images[:10].repeat(3, axis=0)).reshape(30, 64, 3)
    assert np.ptp(amounts, axis=1).max() == 0
    assert -25 <= amounts.min() < -15
    assert 15 < amounts.max() <= 25
    assert len(np.unique(amounts[:, 0], axis=0)) == 30


def test_carlini_changes_less_than_needed_and_reaches_the_class() -> None:
    """Most images reach their target; nine tenths of the way there, few have."""
    images, targets = quantise(40 + _images()[:16] * 0.7), _others()[:16]
    moved = carlini(victim(), images, targets, steps=100, searches=6)
    assert moved.min() >= 0
    assert moved.max() <= WHITE
    with torch.no_grad():
        reached, nearly = (
            victim().logits(torch.from_numpy(pixels.astype(np.float32))).argmax(1).numpy()
            == targets
            for pixels in (moved, images + 0.9 * (moved - images))
        )
    assert reached.mean() > 0.9
    assert nearly.mean() < 0.2


def _same_start(attack: Attack) -> Images:
    return rob(partial(attack, epochs=30, reach=120.0), thief(), 80).loot.images[20:]


def test_binary_search_stops_on_the_way_to_pgds_examples() -> None:
    """With the same draws its images lie between the seeds and JBA-PGD's, closer to the seeds."""
    seeds = thief().seeds.repeat(3, axis=0).astype(np.float64).reshape(60, -1)
    far = _same_start(jba_pgd).reshape(60, -1) - seeds
    near = _same_start(jba_binary_search).reshape(60, -1) - seeds
    share = (near * far).sum(axis=1) / (far * far).sum(axis=1)
    np.testing.assert_array_less(np.abs(near - share[:, None] * far), 1.1)
    assert share.max() <= 1.001
    assert np.median(share) < 0.9


def test_feature_fool_moves_images_for_their_features() -> None:
    """With no weight on the features images stay where they are; with much they go far."""
    still, moved = (
        _moves(partial(feature_fool, weight=weight, epochs=20, iterations=20))
        for weight in (0.0, 20.0)
    )
    assert still.max() == 0
    assert np.median(moved.max(axis=1)) > 25


def test_feature_fool_brings_features_nearer_to_the_guides() -> None:
    """Moved images lie nearer to the image they are guided by than to their own, in features."""
    images = _images()[:6].astype(np.float32)
    unit = _features(victim(), torch.from_numpy(images)).detach()
    moved = [_fool(victim(), images[row], unit[row - 1], 0.2, 30.0, 30) for row in range(6)]
    now = _features(victim(), torch.from_numpy(np.stack(moved))).detach()
    guided = (now - unit.roll(1, 0)).norm(dim=1)
    assert (guided < (now - unit).norm(dim=1)).all()


def test_feature_fools_margin_is_alpha_less_the_spread_of_the_class() -> None:
    """M is 0.5 less the mean squared distance between the features of a class's images."""
    images, labels = _images(), np.arange(50) % 9  # no image of class 9
    raw = victim().features(images)
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    margins = _margins(_features(victim(), torch.from_numpy(images)).detach(), labels, 10)
    for label in range(9):
        expected = 0.5 - np.mean(pdist(unit[labels == label]) ** 2)
        assert margins[label] == pytest.approx(expected, abs=1e-4)
    assert margins[9] == 0.5
