"""Which habits there are; none is imported before it is used."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from gamekeeper.replay.honest.base import Habit
from gamekeeper.replay.theft import Listed, resolve

Takes = Literal["any", "images", "rows"]

FAMILIES: Final = {
    "own": "nothing but own data",
    "repeats": "the same input again, bit for bit",
    "skew": "own data, most of one class",
    "frames": "pictures of one thing a moment apart",
    "variants": "several variants of each of many own inputs",
    "explainers": "hundreds of variants of a few own inputs, made by a tool",
    "other data": "own data through another device, or of another kind",
}
"""What habits have in common. Whoever learns from some of a family knows the others."""


class Entry(NamedTuple):
    """Where a habit is and what it does in one line, its family, and what data it takes."""

    listed: Listed
    family: str
    takes: Takes


def _entry(name: str, takes: Takes, family: str, summary: str, **options: Any) -> Entry:
    target = f"gamekeeper.replay.honest.habits.{name}:{name}"
    return Entry(Listed(target, summary, "", options), family, takes)


HABITS: Final = {
    "own": _entry("own", "any", "own", "Each own input once."),
    "retries": _entry("retries", "any", "repeats", "One query in twenty is sent again at once."),
    "health-check": _entry("health_check", "any", "repeats", "Every tenth query is the same."),
    "ab-test": _entry("ab_test", "any", "repeats", "Each input goes to two versions."),
    "load-test": _entry("load_test", "any", "repeats", "Twenty inputs, again and again."),
    "regression": _entry("regression", "any", "repeats", "A hundred inputs, night by night."),
    "skew": _entry("skew", "any", "skew", "Nine in ten are of one class."),
    "frame-pairs": _entry("frame_pairs", "images", "frames", "Now and then the next frame, too."),
    "burst": _entry("burst", "images", "frames", "Three shots of everything."),
    "moving-objects": _entry("moving_objects", "images", "frames", "Ten frames of each object."),
    "still-objects": _entry("still_objects", "images", "frames", "Ten frames of each still thing."),
    "cameras-in-turn": _entry("cameras_in_turn", "images", "frames", "Twenty still cameras."),
    "readings": _entry("readings", "rows", "frames", "Machines that report by turns."),
    "catalogue": _entry("catalogue", "images", "variants", "Four photos of each product."),
    "crops": _entry("crops", "images", "variants", "Ten parts of each image."),
    "qa-adjacent": _entry("qa_adjacent", "images", "variants", "Each image in ten qualities."),
    "qa-rounds": _entry("qa_rounds", "images", "variants", "A test set in ever other qualities."),
    "rotations": _entry("rotations", "images", "variants", "Some are turned until they stand."),
    "test-time-augmentation": _entry(
        "averaged", "images", "variants", "The mean answer to five variants."
    ),
    "what-if": _entry("what_if", "rows", "variants", "One column from least to most."),
    "what-if-grid": _entry("what_if_grid", "rows", "variants", "All pairs of two columns' values."),
    "scenarios": _entry("scenarios", "rows", "variants", "Each case under four fixed changes."),
    "lime": _entry("lime", "images", "explainers", "LIME of one image."),
    "lime-many": _entry("lime", "images", "explainers", "LIME of twenty images.", images=20),
    "shap": _entry("shap", "images", "explainers", "KernelSHAP of one image."),
    "shap-many": _entry("shap", "images", "explainers", "KernelSHAP of twenty images.", images=20),
    "occlusion": _entry("occlusion", "images", "explainers", "A grey square over one image."),
    "occlusion-many": _entry(
        "occlusion", "images", "explainers", "A grey square over twenty images.", images=20
    ),
    "tabular-lime": _entry("tabular_lime", "rows", "explainers", "LIME of one row."),
    "tabular-lime-many": _entry(
        "tabular_lime", "rows", "explainers", "LIME of twenty rows.", cases=20
    ),
    "tabular-shap": _entry("tabular_shap", "rows", "explainers", "KernelSHAP of one row."),
    "tabular-shap-many": _entry(
        "tabular_shap", "rows", "explainers", "KernelSHAP of twenty rows.", cases=20
    ),
    "new-camera": _entry("new_camera", "images", "other data", "Another camera from half way on."),
    "degraded": _entry("degraded", "images", "other data", "One in five in bad quality."),
    "other-scanner": _entry("other_scanner", "images", "other data", "Black and white only."),
    "other-pen": _entry("other_pen", "images", "other data", "Bold lines."),
    "thin-pen": _entry("other_pen", "images", "other data", "Thin lines.", bold=False),
    "shifted": _entry("shifted", "images", "other data", "All cut out too far to one side."),
    "faint": _entry("faint", "images", "other data", "Half of the light."),
    "compressed": _entry("compressed", "images", "other data", "Poor JPEG."),
    "thumbnails": _entry("thumbnails", "images", "other data", "Stored small, and enlarged."),
    "fading-light": _entry("fading_light", "images", "other data", "Ever less light."),
    "rounded": _entry("rounded", "rows", "other data", "Values in coarse steps."),
    "imputed": _entry("imputed", "rows", "other data", "Unknown values are the mean."),
    "unused-columns": _entry("unused_columns", "rows", "other data", "Half of the columns fixed."),
    "other-units": _entry("other_units", "rows", "other data", "One column in another unit."),
    "inflation": _entry("inflation", "rows", "other data", "Ever more of everything."),
}


def habit(name: str) -> Habit:
    """Import a habit; raises `UnknownNameError`."""
    return resolve({each: entry.listed for each, entry in HABITS.items()}, name, "habit")
