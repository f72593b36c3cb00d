"""What the plots of a sweep have in common: data, scales, colours, titles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, TypeAlias

import altair as alt

from gamekeeper.replay.tune.evaluation import ANY, BENIGN
from gamekeeper.replay.tune.evaluation.sweep import ALL_ATTACKS

Row: TypeAlias = dict[str, Any]
Chart: TypeAlias = Any  # Altair has a type for each way of putting charts together

WIDTH, HEIGHT = 640, 300
GREY, BLACK = "#9a9a9a", "#222222"
# Okabe and Ito's colours, which colour-blind people tell apart; yellow is too pale for lines.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#5c3d1e")

_MOST_POINTS = 400
_TICKS = (0, 0.0001, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_WIDE = 20  # times the smallest value: what a linear axis still shows
_LONG = 4  # times the median life: beyond it, a linear axis squeezes most lives together


class Data:
    """A plot's data, which its charts refer to by name: Altair takes seconds to copy and check."""

    def __init__(self) -> None:
        self.sets: dict[str, list[Row]] = {}

    def chart(self, rows: Iterable[Row]) -> alt.Chart:
        """Begin a chart of these rows."""
        name = f"data-{len(self.sets)}"
        self.sets[name] = list(rows)
        return alt.Chart(alt.NamedData(name))


def pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Join what a point does to benign accounts with what it does to all attacks."""
    attacks = {(row["detector"], row["point"]): row for row in rows if row["kind"] == ALL_ATTACKS}
    return [
        (row, attacks[row["detector"], row["point"]])
        for row in rows
        if row["kind"] == BENIGN and (row["detector"], row["point"]) in attacks
    ]


def told(row: Row) -> str:
    """Say a row's thresholds.

    >>> told({"thresholds": [("prada", 0.1), ("similarity", 49.5)]})
    'prada > 0.1, similarity > 49.5'
    """
    return ", ".join(f"{name} > {value:.6g}" for name, value in row["thresholds"])


def thin(rows: Sequence[Row], key: str) -> list[Row]:
    """Keep evenly many of too many rows for each value of a column: more cannot be told apart."""
    kept = []
    for name in dict.fromkeys(row[key] for row in rows):
        own = [row for row in rows if row[key] == name]
        step = math.ceil(len(own) / _MOST_POINTS)
        kept += own[:-1:step] + own[-1:]
    return kept


def palette(names: Sequence[str]) -> list[str]:
    """Give each name a colour; colours come again after eight."""
    return [COLOURS[place % len(COLOURS)] for place in range(len(names))]


def coloured(
    column: str, names: Sequence[str], colours: Sequence[str], **changes: Any
) -> alt.Color:
    """Colour by a column, each name in its colour; `changes` are the legend's."""
    scale = alt.Scale(domain=list(names), range=list(colours))
    shown = legend(**changes)
    return alt.Color(f"{column}:N", title=None, sort=list(names), scale=scale, legend=shown)


def swept(points: Sequence[Row]) -> list[Row]:
    """Keep the path that was swept: several detectors' own thresholds do not lie on it."""
    return [point for point in points if not (point["own"] and point["detector"] == ANY)]


def diamonds(data: Data, points: Sequence[Row], size: int) -> Chart:
    """Mark what the profile's own thresholds do."""
    own = [point for point in points if point["own"]]
    return data.chart(own).mark_point(shape="diamond", size=size, filled=True, opacity=1)


def thresholds(data: Data, values: Sequence[float], axis: str, **place: Any) -> list[alt.Chart]:
    """Mark the profile's thresholds on the axis `x` or `y`; `place` is that of their words."""
    marks = [{"at": each, "text": f"profile: {each:g}"} for each in values]
    rule = data.chart(marks).mark_rule(strokeDash=[6, 4], strokeWidth=1.5, color="black")
    text = data.chart(marks).mark_text(fontSize=11, fontWeight="bold", **place)
    return [each.encode(**{axis: "at:Q"}) for each in (rule, text.encode(text="text:N"))]


def share_scale(trials: int) -> alt.Scale:
    """Make a scale of [0, 1] that is logarithmic, but linear below one in so many trials."""
    return alt.Scale(type="symlog", constant=1 / trials, domain=[0, 1], nice=False, clamp=True)


def share_axis(trials: int) -> alt.Axis:
    """Make the axis of such a scale, with ticks where trials can tell them apart."""
    ticks = [share for share in _TICKS if share == 0 or share >= 0.5 / trials]
    # Vega's own format for percent rounds 0.1 % away.
    words = "format(100 * datum.value, '~g') + ' %'"
    return alt.Axis(values=ticks, labelExpr=words, labelOverlap="greedy")


def value_scale(values: Sequence[float]) -> alt.Scale:
    """Make a scale for a statistic, logarithmic where a linear one would hide the small values."""
    positive = [value for value in values if value > 0]
    if min(values) < 0 or not positive or max(positive) < _WIDE * min(positive):
        return alt.Scale(zero=False, nice=False)
    if min(values) > 0:
        return alt.Scale(type="log", nice=False)
    return alt.Scale(type="symlog", constant=min(positive), nice=False)


def query_scale(ends: Sequence[int]) -> alt.Scale:
    """Make a scale for queries, logarithmic where some lives are much longer than most."""
    return alt.Scale(type="log" if max(ends) > _LONG * median(ends) else "linear", nice=False)


def legend(**changes: Any) -> alt.Legend:
    """Make a legend in one line above the plot."""
    return alt.Legend(
        **{"orient": "top", "symbolStrokeWidth": 3, "columns": 8, "labelLimit": WIDTH, **changes}
    )


def panel_title(text: str, offset: int = 8) -> alt.TitleParams:
    """Make a panel's title, `offset` pixels above it."""
    return alt.TitleParams(text, anchor="start", fontSize=13, offset=offset)


def titled(chart: Chart, title: str, subtitle: str) -> Chart:
    """Give a plot its title and what must be known to read it."""
    return chart.properties(
        title=alt.TitleParams(title, subtitle=[subtitle], anchor="start", offset=14)
    )


def stacked(panels: Sequence[Chart], title: str, subtitle: str) -> Chart | None:
    """Put panels below each other; None where there is none."""
    return titled(alt.vconcat(*panels, spacing=30), title, subtitle) if panels else None
