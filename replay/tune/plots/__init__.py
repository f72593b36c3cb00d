"""Plots of a sweep: one per file, `write` draws them all. Brings Altair."""

from gamekeeper.replay.tune.plots.files import write_plot
from gamekeeper.replay.tune.plots.parts import (
    GREY,
    HEIGHT,
    WIDTH,
    Chart,
    Data,
    share_axis,
    share_scale,
    titled,
)
from gamekeeper.replay.tune.plots.write import plot

__all__ = [
    "GREY",
    "HEIGHT",
    "WIDTH",
    "Chart",
    "Data",
    "plot",
    "share_axis",
    "share_scale",
    "titled",
    "write_plot",
]
