"""Generators of images that look like the thief's own: what they have learnt, and from which."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gamekeeper.replay.theft import Images
from gamekeeper.replay.theft.attacks.class_gaussian import class_gaussian, sample
from gamekeeper.replay.theft.attacks.vae import vae
from gamekeeper.replay.theft.craft import VariationalAutoEncoder
from gamekeeper.schemas.errors import SettingsError
from support.natural_images import requests, rob, thief


def halves(count: int) -> Images:
    """Make images that are white above or below."""
    images = np.zeros((count, 8, 8), np.uint8)
    images[::2, :4] = 255
    images[1::2, 4:] = 255
    return images


def test_an_auto_encoder_draws_images_like_those_that_it_learnt() -> None:
    """Most are near one of the two kinds, which lie 255 apart, and both are drawn."""
    model = VariationalAutoEncoder((8, 8), 0)
    model.fit(halves(200), 30)
    drawn = model.draw(100)
    apart = np.abs(drawn[:, None].astype(float) - halves(2)).mean(axis=(2, 3))
    assert np.median(apart.min(axis=1)) < 50
    assert set(apart.argmin(axis=1)) == {0, 1}


def test_vae_learns_from_the_pool_or_the_seeds() -> None:
    """The other images make no difference; rounds are of fresh samples, as many as seeds."""
    start = thief(pool=60)
    brief = partial(vae, epochs=2)
    first, *rounds = requests(rob(brief, start, 70))
    np.testing.assert_array_equal(first.images, start.seeds)
    assert [len(each.images) for each in rounds] == [20, 20, 10]
    assert len({image.tobytes() for each in rounds for image in each.images}) == 50
    for images, other in (("pool", "seeds"), ("seeds", "pool")):
        attack = partial(brief, images=images)
        made = rob(attack, start, 40).loot.images[20:]
        changed = start._replace(**{other: 255 - getattr(start, other)})
        np.testing.assert_array_equal(rob(attack, changed, 40).loot.images[20:], made)
        changed = start._replace(**{images: 255 - getattr(start, images)})
        assert not np.array_equal(rob(attack, changed, 40).loot.images[20:], made)


def test_vae_refuses_to_learn_from_no_pool() -> None:
    """Before anything is asked, and says what to do instead."""
    with pytest.raises(SettingsError, match="--set images=seeds"):
        rob(vae, thief(pool=0), 40)


def test_a_class_gaussian_has_its_class_s_mean_and_covariance() -> None:
    """Of two classes, against numpy; a class of one image has that image alone."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 2, 2), dtype=np.uint8)
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
    for label in (0, 1):
        own = images[labels == label].reshape(4, 4)
        drawn = np.stack([sample(images, labels, label, rng) for _ in range(5000)])
        drawn = drawn.reshape(-1, 4)
        np.testing.assert_allclose(drawn.mean(axis=0), own.mean(axis=0), atol=5.0)
        wanted = np.cov(own.T)
        np.testing.assert_allclose(np.cov(drawn.T), wanted, atol=0.1 * np.abs(wanted).max())
    np.testing.assert_array_equal(sample(images, labels, 2, rng), images[8])


def test_class_gaussians_are_of_the_seeds_as_the_victim_sees_them() -> None:
    """Rounds of as many samples as there are seeds; each lies in its class's span."""
    start = thief()
    done = rob(class_gaussian, start, 70)
    assert [len(each.images) for each in requests(done)] == [20, 20, 20, 10]
    labels = done.loot.labels[:20]
    flat = start.seeds.reshape(20, -1).astype(float)
    off = []
    for label in np.unique(labels):
        own = flat[labels == label]
        gap = done.loot.images[20:].reshape(50, -1) - own.mean(axis=0)
        span = (own - own.mean(axis=0)).T
        left = gap - (span @ np.linalg.lstsq(span, gap.T, rcond=None)[0]).T
        off.append(np.abs(left).mean(axis=1))
    assert np.mean(np.min(off, axis=0) < 20.0) > 0.9
