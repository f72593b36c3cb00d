"""What a learned network is made of, as plain JSON: its kind, its inputs and its widths.

A spec lies beside the weights in a network's file, so that the file alone says how to use it. A
plain mapping is all that others handle; here it is checked and its defaults are filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from gamekeeper.schemas.errors import ProfileError

Spec = Mapping[str, Any]
"""`{"kind": ..., "feature": ..., "shape": [...], "low": ..., "high": ..., widths}`."""

SIDES = (8, 64)
"""Images are this many pixels wide and high: two poolings leave something, and it stays quick."""
MOST_CHANNELS = 4
"""A last axis of at most this many, after a first of more, is the channels'."""

_FLOAT32 = float(np.finfo(np.float32).max)

Bound = float | tuple[float, ...]
Width = Annotated[int, Meta(ge=1, le=4096)]
Count = Annotated[int, Meta(ge=1, le=65536)]


class _Base(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """What all kinds have: one row's shape as events carry it, and the range of its values.

    For vectors, `low` and `high` may have a number for each column.
    """

    shape: tuple[Count, ...]
    low: Bound = 0.0
    high: Bound = 1.0

    @property
    def layout(self) -> tuple[int, ...]:
        """The shape that the network takes: `(c, h, w)` or `(d,)`."""
        return layout(self.shape)


class ConvEncoderSpec(_Base, frozen=True, tag="conv-encoder"):
    """Images to embeddings; the widths of Zhang and Wagner's encoder (that of their [5])."""

    feature: Literal["embedding"] = "embedding"
    channels: Annotated[tuple[Width, ...], Meta(min_length=1, max_length=3)] = (32, 64)
    hidden: Width = 512
    dimensions: Width = 256


class MlpEncoderSpec(_Base, frozen=True, tag="mlp-encoder"):
    """Vectors to embeddings."""

    feature: Literal["embedding"] = "embedding"
    hidden: Width = 256
    dimensions: Width = 64


class VqVaeSpec(_Base, frozen=True, tag="vq-vae"):
    """Images to log-likelihoods; the widths and constants of van den Oord et al."""

    feature: Literal["log_likelihood"] = "log_likelihood"
    hidden: Annotated[int, Meta(ge=2, le=4096)] = 128
    layers: Annotated[int, Meta(ge=0, le=16)] = 2
    residual: Width = 32
    codes: Count = 512
    code: Width = 64
    beta: Annotated[float, Meta(gt=0)] = 0.25
    decay: Annotated[float, Meta(gt=0, lt=1)] = 0.99


class GaussianMixtureSpec(_Base, frozen=True, tag="gaussian-mixture"):
    """Vectors to log-likelihoods."""

    feature: Literal["log_likelihood"] = "log_likelihood"
    components: Annotated[int, Meta(ge=1, le=256)] = 8


class OodSpec(_Base, frozen=True, kw_only=True):
    """Images or vectors to out-of-distribution scores, by a classifier of so many classes.

    Its encoder is the one that rows of the shape have; `channels` are those of images.
    """

    feature: Literal["ood"] = "ood"
    classes: Annotated[int, Meta(ge=2, le=4096)]
    channels: Annotated[tuple[Width, ...], Meta(min_length=1, max_length=3)] = (32, 64)
    hidden: Width = 512
    dimensions: Width = 256


class BinarySpec(OodSpec, frozen=True, kw_only=True, tag="ood-binary"):
    """Scores by a classifier of own rows and outliers."""

    classes: Literal[2] = 2


class MspSpec(OodSpec, frozen=True, tag="ood-msp"):
    """Scores by the maximum softmax probability."""


class OdinSpec(OodSpec, frozen=True, tag="ood-odin"):
    """Scores by ODIN; the constants of Liang et al. and their code, for DenseNets on CIFAR-10."""

    temperature: Annotated[float, Meta(gt=0, le=1e6)] = 1000.0
    epsilon: Annotated[float, Meta(ge=0, le=1)] = 0.0014


class MahalanobisSpec(OodSpec, frozen=True, tag="ood-mahalanobis"):
    """Scores by the Mahalanobis distance to the nearest class."""


NetworkSpec = (
    ConvEncoderSpec
    | MlpEncoderSpec
    | VqVaeSpec
    | GaussianMixtureSpec
    | BinarySpec
    | MspSpec
    | OdinSpec
    | MahalanobisSpec
)


def parse(spec: Spec) -> NetworkSpec:
    """Check a spec and fill in its defaults; raises `ProfileError` naming the fault."""
    try:
        # By way of JSON: what is not JSON could not be written into the network's file.
        parsed: NetworkSpec = msgspec.json.decode(msgspec.json.encode(spec), type=NetworkSpec)
    except (msgspec.MsgspecError, TypeError) as error:
        raise ProfileError(f"not the spec of a network: {error}") from error
    _check_shape(parsed)
    _check_range(parsed)
    return parsed


def plain(spec: NetworkSpec) -> dict[str, Any]:
    """Give a spec as a plain JSON-able mapping, with nothing left out."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(spec))
    return plain


def takes_images(spec: NetworkSpec) -> bool:
    """Tell networks of images from those of vectors; of the kinds for both, the shape decides."""
    if isinstance(spec, OodSpec):
        return len(spec.shape) > 1
    return isinstance(spec, ConvEncoderSpec | VqVaeSpec)


def layout(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Say how a network sees rows of a shape: images as `(c, h, w)`, everything else unchanged.

    >>> layout((28, 28)), layout((32, 32, 3)), layout((3, 32, 32)), layout((7,))
    ((1, 28, 28), (3, 32, 32), (3, 32, 32), (7,))
    """
    if len(shape) == 2:
        return (1, *shape)
    if channels_last(shape):
        return (shape[2], shape[0], shape[1])
    return shape


def channels_last(shape: tuple[int, ...]) -> bool:
    """Say whether rows of a shape are images with the channels on the last axis."""
    return len(shape) == 3 and shape[2] <= MOST_CHANNELS < shape[0]


def _check_shape(spec: NetworkSpec) -> None:
    least, most = SIDES
    if not takes_images(spec):
        if len(spec.shape) != 1 or spec.shape[0] > 4096:
            raise ProfileError(f"{_kind(spec)} takes rows of shape (d,), d to 4096: {spec.shape}")
    elif len(spec.layout) != 3 or not all(least <= side <= most for side in spec.layout[1:]):
        raise ProfileError(
            f"{_kind(spec)} takes images (h, w), (h, w, c) or (c, h, w) with sides of "
            f"{least} to {most} pixels, not rows of shape {spec.shape}"
        )


def _check_range(spec: NetworkSpec) -> None:
    columns = spec.shape if len(spec.shape) == 1 else ()
    low, high = np.asarray(spec.low, np.float64), np.asarray(spec.high, np.float64)
    fits = all(each.shape in ((), columns) for each in (low, high))
    if not fits or not np.all((low >= -_FLOAT32) & (low < high) & (high <= _FLOAT32)):
        raise ProfileError(
            f"the spec's values lie from low {spec.low} to high {spec.high}: give the range of the "
            "training data's values, for vectors of each column if you like"
        )


def _kind(spec: NetworkSpec) -> str:
    return str(spec.__struct_config__.tag)
