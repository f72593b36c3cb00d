"""A chart as files: PNG, and HTML that loads nothing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert

from gamekeeper.replay.tune.plots.parts import Chart, Data

_SCALE = 2  # pixels of a PNG for one of the plot


def write_plot(chart: Chart, data: Data, path: Path) -> list[Path]:
    """Write a chart as `path.png` and `path.html`."""
    spec = _spec(chart, data)
    path.parent.mkdir(parents=True, exist_ok=True)
    png, html = path.with_suffix(".png"), path.with_suffix(".html")
    png.write_bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE))
    html.write_text(_page(spec, path.name), encoding="utf-8")
    return [png, html]


def _spec(chart: Chart, data: Data) -> dict[str, Any]:
    """Make a Vega-Lite document."""
    styled = chart.configure_title(fontSize=15, subtitleFontSize=12, subtitleColor="#555555")
    styled = styled.configure_axis(labelFontSize=11, titleFontSize=12, gridColor="#e8e8e8")
    return {**styled.to_dict(), "datasets": data.sets}


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
