"""Which evasions there are; none is imported before it is used."""

from __future__ import annotations

from typing import Final

from gamekeeper.replay.theft import Evasion, Listed, resolve

_HERE = "gamekeeper.replay.theft.evasions"
_BLINDING = "Zhang and Wagner, section VII-A"
_FILTERING = "Zhang and Wagner, section VII-B"
_SEVERAL_CLIENTS = "PRADA version 2, section V-C"
_OWN = "none of the papers"


def _blinding(transform: str, summary: str) -> Listed:
    return Listed(f"{_HERE}.blind:blind", summary, _BLINDING, {"transform": transform})


EVASIONS: Final = {
    "blind-crop": _blinding("crop", "Cuts the borders off and enlarges the rest."),
    "blind-brightness": _blinding("brightness", "Makes images lighter or darker."),
    "blind-scale": _blinding("scale", "Multiplies all pixels."),
    "blind-rotate": _blinding("rotate", "Turns images slightly."),
    "blind-contrast": _blinding("contrast", "Stretches or squeezes the pixels' range."),
    "blind-uniform": _blinding("uniform", "Adds uniform noise."),
    "blind-gaussian": _blinding("gaussian", "Adds Gaussian noise."),
    "blind-translate": _blinding("translate", "Moves images by part of a pixel."),
    "blind-auto-encoder": Listed(
        f"{_HERE}.blind_auto_encoder:blind_auto_encoder",
        "Adds noise where an auto-encoder has learned that it changes no answer.",
        _BLINDING,
    ),
    "filter": Listed(
        f"{_HERE}.filter:query_filter",
        "Leaves out what a detector trained on the pool would notice.",
        _FILTERING,
    ),
    "filter-seeds": Listed(
        f"{_HERE}.filter:query_filter",
        "Leaves out what a detector trained on the seeds would notice.",
        _FILTERING,
        {"images": "seeds"},
    ),
    "dummy": Listed(
        f"{_HERE}.dummy:dummy",
        "Sends dummies that keep PRADA's distances normally distributed.",
        "PRADA version 2, section V-C and Table IX",
    ),
    "split-round-robin": Listed(
        f"{_HERE}.split:round_robin",
        "Sends image after image from the next account.",
        _SEVERAL_CLIENTS,
    ),
    "split-by-stage": Listed(
        f"{_HERE}.split:by_stage",
        "Sends each round from the next account.",
        _SEVERAL_CLIENTS,
    ),
    "split-by-class": Listed(
        f"{_HERE}.split_by_class:by_class",
        "Sends each class from an account of its own.",
        _SEVERAL_CLIENTS,
    ),
    "dilute": Listed(
        f"{_HERE}.dilute:dilute",
        "Mixes natural images of the pool in.",
        _OWN,
    ),
    "duplicates": Listed(
        f"{_HERE}.duplicates:duplicates",
        "Repeats the first image in between.",
        _OWN,
    ),
    "constant-steps": Listed(
        f"{_HERE}.constant_steps:constant_steps",
        "Sends images one constant step from the first in between.",
        _OWN,
    ),
    "pace": Listed(
        f"{_HERE}.pace:pace",
        "Waits before each query.",
        _OWN,
    ),
}

CANDID: Final = frozenset(
    {
        "dummy",
        "split-round-robin",
        "split-by-stage",
        "split-by-class",
        "dilute",
        "duplicates",
        "constant-steps",
        "pace",
    }
)
"""Those that send every image unchanged: a thief gets the answers that he would get without."""


def evasion(name: str) -> Evasion:
    """Import an evasion; raises `UnknownNameError`."""
    return resolve(EVASIONS, name, "evasion")
