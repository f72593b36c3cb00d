"""A bench's plots: what is caught, PRADA's false alarms, and how log-likelihoods change."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt
import numpy as np

from gamekeeper.replay.theft.bench.cell import PLAIN, points
from gamekeeper.replay.theft.bench.tables import Found, number
from gamekeeper.replay.tune.evaluation import typical
from gamekeeper.replay.tune.plots import (
    GREY,
    HEIGHT,
    WIDTH,
    Chart,
    Data,
    share_axis,
    share_scale,
    titled,
)

GRID = np.linspace(0.80, 1.0, 81)
"""Thresholds on W, about the range of PRADA's figure 6."""
PALE = ("#ef9a76", "#f6efe2", "#a9cde8")
"""From no run caught to all; pale, so that words can be read on them."""


def draw(found: Found) -> Iterator[tuple[str, tuple[Chart, Data]]]:
    """Draw what the cells are enough for, each with a name."""
    if len(found.evasions()) > 1:
        data = Data()
        yield "matrix", (matrix(data, found), data)
    data = Data()
    yield "false-alarms", (false_alarms(data, found), data)
    if any(each.likelihood for each in found.cells if each.evasion == PLAIN):
        data = Data()
        yield "likelihood", (likelihood(data, found), data)


def matrix(data: Data, found: Found) -> Chart:
    """Draw the share of runs caught by the combined promise, with the median of queries to it."""
    rows = []
    for attack in found.attacks():
        for evasion in found.evasions():
            cells = found.of(attack, evasion)
            hits = [each.caught["combined"] for each in cells]
            if cells:
                text, share = number(typical(hits)), np.mean([each is not None for each in hits])
                rows.append(
                    {"attack": attack, "evasion": evasion, "share": float(share), "text": text}
                )
    base = data.chart(rows).encode(
        x=alt.X("evasion:N", title=None, sort=found.evasions(), axis=alt.Axis(labelAngle=-45)),
        y=alt.Y("attack:N", title=None, sort=found.attacks()),
    )
    colour = alt.Color(
        "share:Q", title="Runs caught", scale=alt.Scale(domain=[0, 1], range=list(PALE))
    )
    words = base.mark_text(fontSize=10).encode(text="text:N")
    return titled(
        (base.mark_rect().encode(color=colour) + words).properties(
            width=alt.Step(46), height=alt.Step(22)
        ),
        "What is caught at one promise",
        "Words: median queries to detection, missed runs beyond all others",
    )


def false_alarms(data: Data, found: Found) -> Chart:
    """Draw PRADA's false alarms over its threshold (version 2, figure 6)."""
    chunks = found.test["prada-paper"]
    rows = []
    for value in GRID.tolist():
        above = chunks > 1 - value
        shares = {"50-query chunks": above.mean(), "accounts": above.any(axis=1).mean()}
        rows += [
            {"threshold": value, "share": float(share), "of": name}
            for name, share in shares.items()
        ]
    lines = (
        data.chart(rows)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X("threshold:Q", title="Alarm where W is below", scale=alt.Scale(zero=False)),
            y=alt.Y(
                "share:Q",
                title="Share with an alarm",
                scale=share_scale(chunks.size),
                axis=share_axis(chunks.size),
            ),
            color=alt.Color("of:N", title=None, legend=alt.Legend(orient="top")),
        )
    )
    return titled(
        lines.properties(width=WIDTH, height=HEIGHT),
        "False alarms of PRADA's Algorithm 3 over its threshold",
        f"{len(chunks)} honest accounts that calibration never saw",
    )


def likelihood(data: Data, found: Found) -> Chart:
    """Draw the mean log-likelihood while queries arrive (Zhang and Wagner, figure 13)."""
    low, high = np.percentile(found.likelihood, (1, 99), axis=0)
    honest = [
        {"queries": at, "low": below, "high": above}
        for at, below, above in zip(points(found.life).tolist(), low, high, strict=True)
    ]
    thieves = [
        {"queries": at, "mean": mean, "attack": each.attack}
        for each in found.cells
        if each.evasion == PLAIN and each.run == 0
        for at, mean in zip(points(each.sent).tolist(), each.likelihood, strict=False)
    ]
    queries = alt.X("queries:Q", title="Queries, all from one account")
    band = (
        data.chart(honest)
        .mark_area(color=GREY, opacity=0.4)
        .encode(x=queries, y=alt.Y("low:Q", title="Mean log-likelihood so far"), y2="high:Q")
    )
    lines = (
        data.chart(thieves)
        .mark_line(strokeWidth=1.5)
        .encode(x=queries, y="mean:Q", color=alt.Color("attack:N", title="Attack"))
    )
    return titled(
        (band + lines).properties(width=WIDTH, height=HEIGHT),
        "What queries do to an account's mean log-likelihood",
        "Grey: 98 % of the honest accounts that calibration never saw",
    )
