"""Plots of a sweep, as PNG for a report and as HTML that needs no network.

`roc`: what each lifetime false-alarm rate buys. `false-alarms`: rates against the threshold, as in
figure 6 of PRADA's second version. `detection`: how late attacks are noticed at a false-alarm rate.
`statistics`: what the detectors said of some accounts, query by query.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import vl_convert

from gamekeeper.detectors.profile import Profile
from gamekeeper.replay.plots.detection import detection
from gamekeeper.replay.plots.false_alarms import false_alarms
from gamekeeper.replay.plots.lines import read_lines
from gamekeeper.replay.plots.parts import Chart, Data
from gamekeeper.replay.plots.roc import roc
from gamekeeper.replay.plots.statistics import statistics
from gamekeeper.replay.sweep import PLOTS

_SCALE = 2  # pixels of a PNG for one of the plot


def plot(
    out: Path,
    profile: Profile,
    table: pa.Table,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Draw a sweep's table and the scores in `out`; return the files, `out/plots/NAME.png|html`.

    A plot for which there are no traces (of attacks, of benign accounts) is left out. `advance` is
    told the plots done so far and in all.
    """
    rows, lines = table.to_pylist(), read_lines(out)
    plots: dict[str, Callable[[Data], Chart | None]] = {
        "roc": lambda data: roc(data, rows),
        "false-alarms": lambda data: false_alarms(data, rows),
        "detection": lambda data: detection(data, rows),
        "statistics": lambda data: statistics(data, lines, profile),
    }
    written = []
    for done, (name, draw) in enumerate(plots.items()):
        advance(done, len(plots))
        data = Data()
        chart = draw(data)
        if chart is not None:
            written += _write(_spec(chart, data), out / PLOTS / name)
    advance(len(plots), len(plots))
    return written


def _spec(chart: Chart, data: Data) -> dict[str, Any]:
    """Make a Vega-Lite document."""
    styled = chart.configure_title(fontSize=15, subtitleFontSize=12, subtitleColor="#555555")
    styled = styled.configure_axis(labelFontSize=11, titleFontSize=12, gridColor="#e8e8e8")
    return {**styled.to_dict(), "datasets": data.sets}


def _write(spec: dict[str, Any], path: Path) -> list[Path]:
    """Write a document as `path.png` and `path.html`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    png, html = path.with_suffix(".png"), path.with_suffix(".html")
    png.write_bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE))
    html.write_text(_page(spec, path.name), encoding="utf-8")
    return [png, html]


def _page(spec: dict[str, Any], title: str) -> str:
    """Make a page that loads nothing.

    The libraries have templates for it, in which an account that is named `</script>...` runs code.
    """
    drawn = json.dumps(spec).replace("<", "\\u003c")
    # No button that would send the data to an editor on the web.
    options = json.dumps({"actions": {"export": True, "source": False, "editor": False}})
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<script>{_libraries()}</script></head>"
        '<body style="font-family: sans-serif"><div id="plot"></div>'
        f'<script>vegaEmbed("#plot", {drawn}, {options})</script></body></html>\n'
    )


@cache
def _libraries() -> str:
    """Bundle what draws in a browser; takes a second."""
    convert: Any = vl_convert  # its stub wants an argument that means another bundle
    return str(convert.javascript_bundle())
