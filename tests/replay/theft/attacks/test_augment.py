"""Augmented seeds: which variants are made, of which seed, and which are chosen."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gamekeeper.replay.theft import Answers, Images
from gamekeeper.replay.theft.attacks.active_uncertainty import least_certain
from gamekeeper.replay.theft.attacks.augment import augment
from gamekeeper.replay.theft.attacks.augment_uncertain import augment_uncertain
from gamekeeper.replay.theft.craft import variants
from gamekeeper.replay.theft.model import substitute
from gamekeeper.replay.theft.recording import Recorder, run
from support.natural_images import requests, rob, rows_of, thief, victim


def test_augmentation_makes_a_variant_of_every_seed_each_round() -> None:
    """In random order; variants of no strength say of which seed each is."""
    start = thief()
    seeds, *rounds = requests(rob(partial(augment, strength=0.0), start, 90))
    np.testing.assert_array_equal(seeds.images, start.seeds)
    assert [len(each.images) for each in rounds] == [20, 20, 20, 10]
    assert all(each.synthetic for each in rounds)
    originals = [rows_of(each.images, start.seeds) for each in rounds]
    assert sorted(originals[0]) == sorted(originals[1]) == list(range(20))
    assert originals[0] != originals[1]


def test_sorted_augmentation_makes_all_variants_of_a_seed_together() -> None:
    """As many of each as the budget is for; another seed of chance begins elsewhere."""
    start = thief()
    attack = partial(augment, order="sorted", strength=0.0)
    _, *rounds = requests(rob(attack, start, 90))
    originals = [set(rows_of(each.images, start.seeds)) for each in rounds]
    assert [len(each.images) for each in rounds] == [4] * 17 + [2]
    assert all(len(each) == 1 for each in originals)
    assert len(set.union(*originals)) == 18


@pytest.mark.parametrize("shape", [(12, 20), (12, 20, 3)])
def test_variants_move_less_at_half_strength_and_not_at_all_at_none(shape: tuple[int, ...]) -> None:
    """The same draws; a ramp's values tell how far a pixel was moved, whatever its shape."""
    ramp = np.indices(shape)[1].astype(np.uint8) * 10
    images = ramp[None].repeat(50, axis=0)

    def moved(strength: float) -> np.ndarray:
        made = variants(images, strength, np.random.default_rng(0))
        assert made.shape == images.shape
        assert made.dtype == np.uint8
        return np.abs(made.astype(float) - images)[:, 4:8, 8:12]

    assert not moved(0.0).any()
    assert moved(0.5).mean() == pytest.approx(moved(1.0).mean() / 2, rel=0.1)
    assert 5.0 < moved(1.0).mean() < 25.0


def test_variants_of_one_image_all_differ() -> None:
    """Each is turned, zoomed, shifted and bent by its own amounts."""
    made = variants(thief().seeds[:1].repeat(30, axis=0), 1.0, np.random.default_rng(0))
    assert len({each.tobytes() for each in made}) == 30


def test_chosen_augmentation_sends_what_the_copy_is_least_sure_of() -> None:
    """Of variants that are copies, those of the seeds that the same substitute doubts most."""
    start = thief()
    attack = partial(augment_uncertain, batch=5, candidates=20, strength=0.0, epochs=3)
    loot = rob(attack, start, 25).loot
    model = substitute(start, np.random.default_rng(1))
    model.fit(start.seeds, loot.labels[:20], 3)
    doubted = least_certain(model, start.seeds, start.seeds, 3)
    assert set(rows_of(loot.images[20:], start.seeds)) <= set(doubted)


def test_chosen_augmentation_learns_from_the_answers() -> None:
    """Rounds of a batch each; after the same seeds, another victim is asked other variants."""
    attack = partial(augment_uncertain, batch=15, candidates=3, epochs=2)

    def contrary(images: Images) -> Answers:
        answers = victim()(images)
        return answers._replace(labels=9 - answers.labels)

    ours = rob(attack, thief(), 60)
    theirs = run(attack, Recorder(contrary), thief(), 60, np.random.default_rng(1))
    assert [len(each.images) for each in requests(ours)] == [20, 15, 15, 10]
    np.testing.assert_array_equal(ours.loot.images[:20], theirs.loot.images[:20])
    assert not np.array_equal(ours.loot.images[20:35], theirs.loot.images[20:35])
