"""Queries to detection against false-alarm rates: how late, at what price."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from gamekeeper.replay.tune.evaluation import BENIGN
from gamekeeper.replay.tune.evaluation.sweep import ALL_ATTACKS
from gamekeeper.replay.tune.plots import parts
from gamekeeper.replay.tune.plots.parts import Chart, Data, Row
from gamekeeper.schemas.text import printable

# A rate's column, what it is a share of, and in words.
_PRICES = (
    ("share", "accounts", "Lifetime false-alarm rate (share of benign accounts)"),
    ("chunk_fpr", "chunks", "Chunk FPR (share of benign 50-query chunks)"),
)


def detection(data: Data, rows: Sequence[Row]) -> Chart | None:
    """Draw a sweep's rows, two panels per detector: the median against either rate.

    None without benign accounts, or where no kind of attack is ever caught by half.
    """
    # Minus infinity, where all alarm at once, would only stretch the axes.
    rows = [row for row in rows if any(math.isfinite(value) for _, value in row["thresholds"])]
    names = dict.fromkeys(benign["detector"] for benign, _ in parts.pairs(rows))
    kinds = sorted({row["kind"] for row in rows if row["role"] == "attack"} - {ALL_ATTACKS})
    medians = [row["detection_median"] for row in rows if row["kind"] in kinds]
    caught = [median for median in medians if median is not None]
    if not caught:
        return None
    scale = alt.Scale(type="log", domain=[0.8 * min(caught), 1.2 * max(caught)])
    panels = []
    for name in names:
        own = [row for row in rows if row["detector"] == name]
        pair = [_panel(data, own, kinds, price, scale) for price in _PRICES]
        panels.append(alt.hconcat(*pair, title=parts.panel_title(name)))
    return parts.stacked(
        panels,
        "How late attacks are noticed, at what price in false alarms",
        "Median over the attacks of a kind at the lowest threshold of each rate; a line begins "
        "where half are caught. Diamonds: the profile's own",
    )


def _panel(
    data: Data,
    rows: Sequence[Row],
    kinds: Sequence[str],
    price: tuple[str, str, str],
    scale: alt.Scale,
) -> Chart:
    column, trials, words = price
    total = next(row[trials] for row in rows if row["kind"] == BENIGN)
    x = alt.X("price:Q", title=words, scale=parts.share_scale(total), axis=parts.share_axis(total))
    y = alt.Y(
        "queries:Q",
        title="Queries to detection (median)",
        scale=scale,
        axis=alt.Axis(format=",d", tickCount=6),
    )
    names = list(map(printable, kinds))
    colour = parts.coloured("kind", names, parts.palette(names))
    points = _points(rows, kinds, column)
    path = data.chart(parts.thin(_fewest(points), "kind")).mark_line(
        interpolate="step-after", strokeWidth=2, opacity=0.85
    )
    own = parts.diamonds(data, points, 90)
    tips = ["kind:N", "price:Q", "queries:Q", "thresholds:N"]
    return alt.layer(
        *(each.encode(x=x, y=y, color=colour, tooltip=tips) for each in (path, own))
    ).properties(width=parts.WIDTH // 2, height=parts.HEIGHT * 3 // 4)


def _points(rows: Sequence[Row], kinds: Sequence[str], column: str) -> list[Row]:
    prices = {row["point"]: row[column] for row in rows if row["kind"] == BENIGN}
    return [
        {
            "kind": printable(row["kind"]),
            "price": prices[row["point"]],
            "queries": row["detection_median"],
            "own": row["own"],
            "detector": row["detector"],
            "thresholds": parts.told(row),
        }
        for row in rows
        if row["kind"] in kinds and row["detection_median"] is not None
    ]


def _fewest(points: Sequence[Row]) -> list[Row]:
    """Keep for each kind and price the fewest queries, along the path that was swept."""
    kept: dict[tuple[str, float], Row] = {}
    path = parts.swept(points)
    for point in sorted(path, key=lambda each: (each["kind"], each["price"], each["queries"])):
        kept.setdefault((point["kind"], point["price"]), point)
    return list(kept.values())
