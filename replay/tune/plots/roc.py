"""The ROC: attacks caught against the lifetime false-alarm rate, at every threshold."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from gamekeeper.replay.tune.plots import parts
from gamekeeper.replay.tune.plots.parts import Chart, Data, Row

_TIPS = ["detector:N", "thresholds:N", "false:Q", "low:Q", "high:Q", "caught:Q"]


def roc(data: Data, rows: Sequence[Row]) -> Chart | None:
    """Draw a sweep's rows: a line per detector, and the profile's own thresholds on it.

    None without benign accounts or without attacks.
    """
    joined = parts.pairs(rows)
    if not joined:
        return None
    points = _labelled([_point(benign, attacks) for benign, attacks in joined])
    x, y = _axes(joined[0][0]["accounts"], joined[0][1]["accounts"])
    names = list(dict.fromkeys(point["label"] for point in points))
    shown = {"orient": "bottom", "columns": 1, "symbolType": "square", "symbolSize": 120}
    colour = parts.coloured("label", names, parts.palette(names), **shown)
    mark = parts.diamonds(data, points, 160)
    chart = alt.layer(
        *(
            each.encode(x=x, y=y, color=colour, order="point:Q", tooltip=_TIPS)
            for each in _lines(data, parts.swept(points), names)
        ),
        *(each.encode(y="caught:Q", color=colour) for each in _bars(data, points)),
        mark.encode(x=x, y=y, color=colour, tooltip=_TIPS),
    )
    return parts.titled(
        chart.properties(width=parts.WIDTH, height=parts.HEIGHT),
        "What a false-alarm rate buys: attacks caught at every threshold",
        "Diamonds: the profile's own thresholds; bars: the exact 95 % interval of their "
        "false-alarm rate",
    )


def _point(benign: Row, attacks: Row) -> Row:
    return {
        **{name: benign[name] for name in ("detector", "point", "own", "low", "high")},
        "thresholds": parts.told(benign),
        "false": benign["share"],
        "caught": attacks["share"],
        "label": benign["detector"],
    }


def _labelled(points: Sequence[Row]) -> list[Row]:
    """Say in the legend what the profile's own thresholds do."""
    labels = {
        point["detector"]: f"{point['detector']}: as the profile has it, {point['thresholds']}, "
        f"{_percent(point['caught'])} caught at {_percent(point['false'])} false alarms "
        f"({_percent(point['low'])} to {_percent(point['high'])})"
        for point in points
        if point["own"]
    }
    return [{**point, "label": labels.get(point["detector"], point["label"])} for point in points]


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _axes(accounts: int, attacks: int) -> tuple[alt.X, alt.Y]:
    x = alt.X(
        "false:Q",
        title=f"Lifetime false-alarm rate (share of {accounts:,} benign accounts that ever alarm)",
        scale=parts.share_scale(accounts),
        axis=parts.share_axis(accounts),
    )
    y = alt.Y(
        "caught:Q",
        title=f"Share of {attacks:,} attacks caught",
        scale=alt.Scale(domain=[0, 1.03], nice=False),
        axis=alt.Axis(
            values=[0, 0.2, 0.4, 0.6, 0.8, 1], labelExpr="format(100 * datum.value, '~g') + ' %'"
        ),
    )
    return x, y


def _lines(data: Data, path: Sequence[Row], names: Sequence[str]) -> list[alt.Chart]:
    """Make later lines thinner, so that those which they cover can be seen."""
    lines = []
    for place, name in enumerate(names):
        own = parts.thin([point for point in path if point["label"] == name], "label")
        width = 4 - 2.5 * place / len(names)
        lines.append(data.chart(own).mark_line(interpolate="step-after", strokeWidth=width))
    return lines


def _bars(data: Data, points: Sequence[Row]) -> list[alt.Chart]:
    own = [point for point in points if point["own"]]
    spread = data.chart(own).mark_rule(strokeWidth=1.5).encode(x="low:Q", x2="high:Q")
    end = data.chart(own).mark_tick(thickness=2, size=14, orient="vertical").encode(x="high:Q")
    return [spread, end]
