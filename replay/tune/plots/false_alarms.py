"""False alarms against the threshold, as in figure 6 of PRADA's second version."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from gamekeeper.replay.tune.evaluation import ANY, BENIGN
from gamekeeper.replay.tune.evaluation.sweep import ALL_ATTACKS
from gamekeeper.replay.tune.plots import parts
from gamekeeper.replay.tune.plots.parts import Chart, Data, Row

# What is drawn: whose rows, which column, in which words and colour.
_MEASURES = (
    (BENIGN, "share", "benign accounts that ever alarm", parts.BLACK),
    (BENIGN, "chunk_fpr", "benign chunks of 50 queries with an alarm", parts.COLOURS[1]),
    (ALL_ATTACKS, "share", "attacks caught", parts.COLOURS[0]),
)


def false_alarms(data: Data, rows: Sequence[Row]) -> Chart | None:
    """Draw a sweep's rows, one panel per detector; None without benign accounts."""
    shown = [
        row
        for row in rows
        # Several detectors together have no one threshold, and minus infinity no place.
        if row["detector"] != ANY and math.isfinite(row["threshold"])
    ]
    names = dict.fromkeys(row["detector"] for row in shown if row["kind"] == BENIGN)
    return parts.stacked(
        [_panel(data, name, [row for row in shown if row["detector"] == name]) for name in names],
        "False alarms against the threshold",
        "Shaded: exact 95 % interval of the lifetime rate. An alarm is a statistic above the "
        "threshold",
    )


def _panel(data: Data, name: str, rows: Sequence[Row]) -> Chart:
    benign = [row for row in rows if row["kind"] == BENIGN]
    accounts = benign[0]["accounts"]
    x = alt.X(
        "threshold:Q",
        title=f"Threshold of {name} (its statistic)",
        scale=parts.value_scale([row["threshold"] for row in rows]),
        axis=alt.Axis(labelOverlap="greedy", labelSeparation=4),
    )
    y = alt.Y(
        "rate:Q",
        title="Share of accounts, chunks or attacks",
        scale=parts.share_scale(accounts),
        axis=parts.share_axis(accounts),
    )
    points = _points(rows)
    # A rate holds from its threshold up to the next higher one, at which it falls.
    lines = data.chart(points).mark_line(interpolate="step-after", strokeWidth=2)
    band = data.chart([point for point in points if "low" in point]).mark_area(
        interpolate="step-after", opacity=0.13, color=parts.BLACK
    )
    tips = ["measure:N", "threshold:Q", "rate:Q"]
    return alt.layer(
        band.encode(x=x, y=alt.Y("low:Q", scale=parts.share_scale(accounts)), y2="high:Q"),
        lines.encode(x=x, y=y, color=_colour(), tooltip=tips),
        *parts.thresholds(data, [row["threshold"] for row in benign if row["own"]], "x", y=-9),
    ).properties(
        width=parts.WIDTH,
        height=parts.HEIGHT,
        title=parts.panel_title(f"{name}: {accounts:,} benign accounts", offset=20),
    )


def _points(rows: Sequence[Row]) -> list[Row]:
    points = []
    for kind, column, words, _ in _MEASURES:
        for row in parts.thin([row for row in rows if row["kind"] == kind], "kind"):
            point = {"threshold": row["threshold"], "measure": words, "rate": row[column]}
            if (kind, column) == (BENIGN, "share"):
                point |= {"low": row["low"], "high": row["high"]}
            points.append(point)
    return points


def _colour() -> alt.Color:
    words, colours = ([measure[place] for measure in _MEASURES] for place in (2, 3))
    return parts.coloured("measure", words, colours)
