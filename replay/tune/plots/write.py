"""Plots of a sweep, as PNG for a report and as HTML that needs no network.

`roc`: what each lifetime false-alarm rate buys. `false-alarms`: rates against the threshold, as in
figure 6 of PRADA's second version. `detection`: how late attacks are noticed at a false-alarm rate.
`statistics`: what the detectors said of some accounts, query by query.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from gamekeeper.detectors.engine import Profile
from gamekeeper.replay.tune.evaluation.sweep import PLOTS
from gamekeeper.replay.tune.plots.detection import detection
from gamekeeper.replay.tune.plots.false_alarms import false_alarms
from gamekeeper.replay.tune.plots.files import write_plot
from gamekeeper.replay.tune.plots.lines import read_lines
from gamekeeper.replay.tune.plots.parts import Chart, Data
from gamekeeper.replay.tune.plots.roc import roc
from gamekeeper.replay.tune.plots.statistics import statistics


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
            written += write_plot(chart, data, out / PLOTS / name)
    advance(len(plots), len(plots))
    return written
