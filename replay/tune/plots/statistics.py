"""What the detectors said of some accounts, query by query, beside the threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt

from gamekeeper.detectors.engine import DetectorProfile, Profile
from gamekeeper.replay.tune.evaluation import BENIGN
from gamekeeper.replay.tune.plots import parts
from gamekeeper.replay.tune.plots.lines import Line
from gamekeeper.replay.tune.plots.parts import Chart, Data, Row
from gamekeeper.schemas.text import printable

_TIPS = ["kind:N", "account:N", "trace:N", "query:Q", "statistic:Q"]


def statistics(data: Data, lines: Sequence[Line], profile: Profile) -> Chart | None:
    """Draw accounts' lines, one panel per detector; None where no detector was ever ready."""
    kinds = sorted({_kind(line) for line in lines} - {BENIGN})
    panels = []
    for each in profile.detectors:
        own = [line for line in lines if line.detector == each.detector]
        if own:
            panels.append(_panel(data, own, each, kinds))
    sampled = any(_drawn(lines, line.kind) < line.present for line in lines)
    return parts.stacked(
        panels,
        "What the detectors said of each account",
        "A sample of the accounts: at even steps of rank by their highest statistic, the highest "
        "included"
        if sampled
        else "All accounts",
    )


def _panel(
    data: Data, lines: Sequence[Line], detector: DetectorProfile, kinds: Sequence[str]
) -> Chart:
    points = _points(lines)
    x = alt.X(
        "query:Q",
        title="Queries the account has sent",
        scale=parts.query_scale([line.points[-1][0] for line in lines]),
        axis=alt.Axis(format=",d", tickCount=10),
    )
    threshold = [each for each in [detector.threshold] if each is not None and math.isfinite(each)]
    y = alt.Y(
        "statistic:Q",
        title=f"Statistic of {detector.detector}",
        scale=parts.value_scale([*(point["statistic"] for point in points), *threshold]),
    )
    domain = [BENIGN, *kinds]
    colour = parts.coloured("kind", domain, [parts.GREY, *parts.palette(kinds)])
    layers = [
        data.chart([point for point in points if (point["kind"] == BENIGN) is benign])
        .mark_line(strokeWidth=width, opacity=opacity)
        .encode(x=x, y=y, color=colour, detail="line:N", tooltip=_TIPS)
        for benign, width, opacity in ((True, 1.0, 0.6), (False, 1.8, 0.9))
    ]
    return alt.layer(
        *layers, *parts.thresholds(data, threshold, "y", align="left", x=parts.WIDTH + 5)
    ).properties(
        width=parts.WIDTH,
        height=parts.HEIGHT,
        title=parts.panel_title(f"{detector.detector}: {_shown(lines)}"),
    )


def _points(lines: Sequence[Line]) -> list[Row]:
    return [
        {
            "kind": _kind(line),
            "account": printable(line.account),
            "trace": printable(line.trace),
            "line": number,
            "query": query,
            "statistic": statistic,
        }
        for number, line in enumerate(lines)
        for query, statistic in line.points
    ]


def _kind(line: Line) -> str:
    return "unlabelled" if line.kind is None else printable(line.kind)


def _drawn(lines: Sequence[Line], kind: str | None) -> int:
    detectors = {line.detector for line in lines}
    return sum(line.kind == kind for line in lines) // len(detectors)


def _shown(lines: Sequence[Line]) -> str:
    """Say how many accounts are drawn of how many."""
    said = []
    for word in (BENIGN, "other"):
        own = [line for line in lines if (line.kind == BENIGN) is (word == BENIGN)]
        present = sum({line.kind: line.present for line in own}.values())
        of = "" if present == len(own) else f" of {present:,}"
        said.append(f"{len(own)}{of} {word} accounts")
    return ", ".join(said)
