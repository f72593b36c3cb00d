"""A victim as a classifier of the Adversarial Robustness Toolbox, so that ART's attacks record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gamekeeper.replay.theft import WHITE, AttackOver, Floats, Images, Oracle, ask, quantise
from gamekeeper.schemas.errors import GamekeeperError

if TYPE_CHECKING:
    from art.estimators.classification.blackbox import BlackBoxClassifierNeuralNetwork


class ArtMissingError(GamekeeperError):
    """The toolbox is not installed; the message says how it is."""


class ArtInputError(GamekeeperError):
    """Images that ART's attack asks for do not fit the victim; the message says what would."""


def art_classifier(
    oracle: Oracle,
    shape: tuple[int, ...],
    classes: int,
    *,
    synthetic: bool,
    clip_values: tuple[float, float] = (0.0, 1.0),
    channels_first: bool = True,
) -> BlackBoxClassifierNeuralNetwork:
    """Present the way to a victim to ART: `predict` asks, there are no gradients and no weights.

    ART's extraction attacks (`art.attacks.extraction`) take it as their victim. Each batch of
    `predict` is one request, in order; its real pixels are rounded to uint8 first, so what is
    recorded is what was answered. ART knows no rounds and no budget: all is of round 0, and
    `nb_stolen` bounds the attack. It draws from numpy's global state: `np.random.seed` makes a
    run repeatable. ART's default of one image per `batch_size_query` asks one at a time.

    Args:
        oracle: the way to the victim: a recorder, or an evasion around one.
        shape: of the victim's images, `(h, w)` or `(h, w, c)`.
        classes: the number of the victim's classes.
        synthetic: whether the attack crafts its images; KnockoffNets and CopycatCNN do not.
        clip_values: the pixel values that ART's user has for black and for white.
        channels_first: whether ART's images are `(n, c, h, w)` or `(n, h, w, c)`; grey ones have
            one channel.

    Returns:
        An ART classifier whose `predict` gives `(n, classes)` probabilities. It raises
        `ArtInputError` on images of another shape or outside `clip_values`, and `AttackOver`
        where an evasion leaves images without an answer, for which ART has no place. Raises
        `ArtMissingError` itself.
    """
    try:
        from art.estimators.classification.blackbox import BlackBoxClassifierNeuralNetwork
    except ModuleNotFoundError as error:
        raise ArtMissingError(
            f"a victim for ART's attacks needs {error.name}: pip install 'gamekeeper[art]'"
        ) from error
    height, width, channels = shape if len(shape) == 3 else (*shape, 1)
    expected = (channels, height, width) if channels_first else (height, width, channels)

    def predict(pixels: NDArray[Any]) -> Floats:
        _check(pixels, expected, clip_values)
        last = np.moveaxis(pixels, 1, -1) if channels_first else pixels
        images = _uint8(last, clip_values).reshape(-1, *shape)
        sent = ask(oracle, images, synthetic=synthetic, round=0)
        if len(sent.images) < len(images):
            raise AttackOver("an evasion left images out, and ART's attacks need every answer")
        return sent.answers.probabilities

    return BlackBoxClassifierNeuralNetwork(
        predict, expected, classes, channels_first=channels_first, clip_values=clip_values
    )


def _check(
    pixels: NDArray[Any], expected: tuple[int, ...], clip_values: tuple[float, float]
) -> None:
    low, high = clip_values
    half = (high - low) / WHITE / 2  # a grey level's half, which rounding takes away
    if pixels.shape[1:] != expected:
        raise ArtInputError(
            f"the victim's images are {expected} to ART, these are {pixels.shape[1:]}: reshape "
            "them, or give art_classifier another channels_first"
        )
    if pixels.min() < low - half or pixels.max() > high + half:
        raise ArtInputError(
            f"pixels are in {pixels.min():g}..{pixels.max():g}, outside clip_values of {low:g} and "
            f"{high:g}: give art_classifier the clip_values that the images have"
        )


def _uint8(pixels: NDArray[Any], clip_values: tuple[float, float]) -> Images:
    low, high = clip_values
    return quantise((pixels.astype(np.float64) - low) * (WHITE / (high - low)))
