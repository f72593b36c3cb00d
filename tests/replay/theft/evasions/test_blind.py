"""Is what was blinded slightly different, in the same terms, and answered alike?"""

from __future__ import annotations

import numpy as np
import pytest

from gamekeeper.replay.theft import Request, Start
from gamekeeper.replay.theft.evasions import EVASIONS, evasion
from gamekeeper.replay.theft.evasions.blind import changed
from gamekeeper.replay.theft.evasions.blind_auto_encoder import NOISE
from gamekeeper.replay.theft.model import Classifier
from gamekeeper.replay.theft.recording import Recorder
from gamekeeper.replay.tune.training.transforms import TRANSFORMS

BLINDED = [name for name in EVASIONS if name.startswith("blind-")]


@pytest.mark.parametrize("name", BLINDED)
def test_blinded_images_differ_but_little(name: str, victim: Classifier, start: Start) -> None:
    """The victim sees other images than the thief has, each time others; most answers stay."""
    recorder = Recorder(victim)
    oracle = evasion(name)(recorder, start, np.random.default_rng(0))
    for _ in range(2):
        reply = oracle(Request(start.seeds, synthetic=False, round=0))
        assert np.mean(reply.answers.labels == victim(start.seeds).labels) > 0.7
    first, second = (each.request for each in recorder.seen)
    assert first.synthetic
    assert first.images.shape == start.seeds.shape
    for blinded, other in ((first.images, start.seeds), (first.images, second.images)):
        apart = np.abs(blinded.astype(np.int64) - other).reshape(len(other), -1)
        assert np.mean(apart.max(axis=1) > 0) > 0.9
        assert apart.mean() < 40


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_colour_images_keep_their_channels(transform: str) -> None:
    """An image of three even colours keeps them about where they were."""
    colours = np.array([40, 120, 200], np.uint8)
    images = np.broadcast_to(colours, (5, 12, 10, 3)).copy()
    blinded = changed(images, transform, 1)
    assert blinded.shape == images.shape
    assert blinded.dtype == np.uint8
    np.testing.assert_allclose(blinded.mean(axis=(1, 2)), np.tile(colours, (5, 1)), atol=36)


def test_the_auto_encoder_makes_noise_harmless(victim: Classifier, start: Start) -> None:
    """Noise of the paper's size is moved to where it changes fewer answers than plain noise."""
    recorder = Recorder(victim)
    oracle = evasion("blind-auto-encoder")(recorder, start, np.random.default_rng(0))
    images = np.tile(start.seeds, (5, 1, 1))
    wanted = victim(images).probabilities
    placed = oracle(Request(images, synthetic=False, round=0)).answers.probabilities
    noise = np.random.default_rng(1).normal(0, NOISE * 255, images.shape)
    plain = np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)
    assert (
        np.abs(placed - wanted).mean() < 0.8 * np.abs(victim(plain).probabilities - wanted).mean()
    )


def test_without_labels_the_auto_encoder_learns_from_the_first_answers(
    victim: Classifier, start: Start
) -> None:
    """The first request goes unblinded where the pool has no labels, the second is blinded."""
    recorder = Recorder(victim)
    bare = start._replace(pool_labels=None)
    oracle = evasion("blind-auto-encoder")(recorder, bare, np.random.default_rng(0))
    for number in range(2):
        oracle(Request(start.seeds, synthetic=False, round=number))
    first, second = (each.request for each in recorder.seen)
    np.testing.assert_array_equal(first.images, start.seeds)
    assert not first.synthetic
    assert (second.images != start.seeds).any(axis=(1, 2)).all()
    assert second.synthetic
