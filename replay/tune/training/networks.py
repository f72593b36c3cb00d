"""What networks are trained for which data, at which size."""

from __future__ import annotations

from typing import Any, Final, Literal

from gamekeeper.detectors.networks import Bound, parse, plain

Size = Literal["paper", "small"]
Feature = Literal["embedding", "log_likelihood", "ood"]
FEATURES: Final[tuple[Feature, ...]] = ("embedding", "log_likelihood", "ood")
Score = Literal["binary", "msp", "odin", "mahalanobis"]
SCORES: Final[tuple[Score, ...]] = ("binary", "msp", "odin", "mahalanobis")
"""Ways to score how far out of distribution a row is; `binary` is learned from outliers."""

# `paper` leaves the specs at their defaults, which are the papers'; `small` is for profiles that
# are shipped: the first two networks of 28x28 images together take less than 3 MiB.
_WIDTHS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "paper": {
        "conv-encoder": {},
        "mlp-encoder": {"hidden": 256, "dimensions": 64},
        "vq-vae": {},
        "gaussian-mixture": {},
    },
    "small": {
        "conv-encoder": {"channels": [16, 32], "hidden": 128, "dimensions": 64},
        "mlp-encoder": {"hidden": 128, "dimensions": 32},
        "vq-vae": {"hidden": 64, "codes": 128, "code": 32},
        "gaussian-mixture": {},
    },
}
_SMALL_IMAGE: Final = 16  # pixels a side, below which an image has few codes
# The codebook's running means: van den Oord et al. use 0.99; few codes per batch move slowly.
_FAST_DECAY: Final = 0.95


def spec_of(
    feature: Feature,
    shape: tuple[int, ...],
    size: Size,
    low: Bound,
    high: Bound,
    *,
    score: Score = "binary",
    classes: int = 2,
) -> dict[str, Any]:
    """Say which network makes a feature of rows of a shape, values mapped from `low` to `high`.

    `score` says how `ood` is scored, by a classifier of so many `classes`. Raises `ProfileError`
    where no network takes such rows.
    """
    image = len(shape) > 1
    if feature == "log_likelihood":
        kind = "vq-vae" if image else "gaussian-mixture"
    else:
        kind = "conv-encoder" if image else "mlp-encoder"
    spec: dict[str, Any] = {
        "kind": kind,
        "feature": feature,
        "shape": list(shape),
        "low": low,
        "high": high,
    } | _WIDTHS[size][kind]
    if kind == "vq-vae" and sorted(shape)[-2] < _SMALL_IMAGE:
        spec["decay"] = _FAST_DECAY
    if feature == "ood":
        spec |= {"kind": f"ood-{score}", "classes": classes}
    return plain(parse(spec))
