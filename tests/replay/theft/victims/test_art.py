"""ART's own extraction attacks steal through the recorder, which has every query."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from art.attacks.extraction import CopycatCNN, KnockoffNets
from art.estimators.classification import PyTorchClassifier
from numpy.typing import NDArray
from torch import nn

from gamekeeper.replay.theft import Answers, AttackOver, Images, Reply, Request
from gamekeeper.replay.theft.recording import Recorder
from gamekeeper.replay.theft.victims.art import ArtInputError, ArtMissingError, art_classifier
from support.natural_images import digits, rows_of, victim

POOL = digits()[0][800:1400]
FLOATS = POOL.astype(np.float32)[:, None] / 255
LABELS = digits()[1][800:1400]
TEST = digits()[0][1400:]


def _thieved() -> PyTorchClassifier:
    """Return an untrained network of ART for ART's attacks to train."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return PyTorchClassifier(
        model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        input_shape=(1, 8, 8),
        nb_classes=10,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )


def _agreement(stolen: PyTorchClassifier) -> float:
    mine = stolen.predict(TEST.astype(np.float32)[:, None] / 255).argmax(axis=1)
    return float(np.mean(mine == victim()(TEST).labels))


def _asked(recorder: Recorder) -> Images:
    return np.concatenate([each.request.images for each in recorder.seen])


@pytest.mark.parametrize("attack", [CopycatCNN, KnockoffNets])
def test_arts_random_attacks_steal_and_are_recorded(
    attack: type[CopycatCNN] | type[KnockoffNets],
) -> None:
    """The recorder has the pool's images as they are, in the order that numpy's seed draws."""
    np.random.seed(3)  # noqa: NPY002  ART draws from there
    wanted = np.random.choice(600, 300, replace=False)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    recorder = Recorder(victim())
    way_in = art_classifier(recorder, (8, 8), 10, synthetic=False)
    thief = attack(way_in, batch_size_fit=32, batch_size_query=50, nb_epochs=20, nb_stolen=300)
    stolen = thief.extract(FLOATS, thieved_classifier=_thieved())
    assert rows_of(_asked(recorder), POOL) == wanted.tolist()
    assert [len(each.request.images) for each in recorder.seen] == [50] * 6
    assert not any(each.request.synthetic for each in recorder.seen)
    assert _agreement(stolen) > 0.7


def test_arts_adaptive_knockoff_steals_and_is_recorded() -> None:
    """It asks one image at a time, and each of them is the pool's."""
    np.random.seed(3)  # noqa: NPY002
    recorder = Recorder(victim())
    thief = KnockoffNets(
        art_classifier(recorder, (8, 8), 10, synthetic=False),
        batch_size_fit=32,
        nb_epochs=20,
        nb_stolen=120,
        sampling_strategy="adaptive",
        verbose=False,
    )
    stolen = thief.extract(FLOATS, LABELS, thieved_classifier=_thieved())
    assert len(rows_of(_asked(recorder), POOL)) == recorder.queries == 120
    assert len(recorder.seen) == 120
    assert _agreement(stolen) > 0.5


COLOUR = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)


def _sum_of_pixels(images: Images) -> Answers:
    """Answer with where the brightest row lies, so that a mixed-up axis shows."""
    rows = images.reshape(len(images), images.shape[1], -1).sum(axis=2).astype(np.float32)
    return Answers(rows.argmax(axis=1), rows / rows.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("clip_values", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_pixels_reach_the_victim_in_its_own_form(
    channels_first: bool, clip_values: tuple[float, float]
) -> None:
    """Of any range and order of axes, they arrive as the uint8 images that they came from."""
    low, high = clip_values
    pixels: NDArray[np.float32] = (COLOUR / 255 * (high - low) + low).astype(np.float32)
    recorder = Recorder(_sum_of_pixels)
    way_in = art_classifier(
        recorder,
        (6, 4, 3),
        6,
        synthetic=True,
        clip_values=clip_values,
        channels_first=channels_first,
    )
    answer = way_in.predict(np.moveaxis(pixels, -1, 1) if channels_first else pixels, batch_size=2)
    np.testing.assert_array_equal(_asked(recorder), COLOUR)
    np.testing.assert_allclose(answer, _sum_of_pixels(COLOUR).probabilities)
    assert [len(each.request.images) for each in recorder.seen] == [2, 2, 1]
    assert all(each.request.synthetic for each in recorder.seen)


def test_images_that_do_not_fit_are_refused_unasked() -> None:
    """The message says which option to change."""
    recorder = Recorder(_sum_of_pixels)
    way_in = art_classifier(recorder, (6, 4, 3), 6, synthetic=False)
    with pytest.raises(ArtInputError, match="channels_first"):
        way_in.predict(COLOUR / np.float32(255))
    with pytest.raises(ArtInputError, match="clip_values"):
        way_in.predict(np.moveaxis(COLOUR, -1, 1).astype(np.float32))
    assert recorder.queries == 0


def test_an_evasion_that_withholds_images_ends_the_attack() -> None:
    """ART has no place for an image without an answer."""

    def oracle(request: Request) -> Reply:
        sent = np.arange(len(request.images)) > 0
        return Reply(_sum_of_pixels(request.images[sent]), sent)

    with pytest.raises(AttackOver, match="every answer"):
        art_classifier(oracle, (6, 4, 3), 6, synthetic=False, channels_first=False).predict(
            COLOUR / np.float32(255)
        )


def test_nothing_else_of_the_victim_is_exposed() -> None:
    """No gradients and no model: ART's white-box attacks do not take it."""
    way_in = art_classifier(Recorder(_sum_of_pixels), (6, 4, 3), 6, synthetic=False)
    assert not hasattr(way_in, "class_gradient")
    assert not hasattr(way_in, "loss_gradient")
    assert way_in.model is None


def test_without_the_toolbox_the_extra_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else of the victims needs it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "art"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ArtMissingError, match=r"needs art.*pip install 'gamekeeper\[art\]'"):
        art_classifier(Recorder(_sum_of_pixels), (6, 4, 3), 6, synthetic=False)
